"""Popularity models from the lake: the newest, or one by name; and the watch that takes over a new night's.

A model is loaded and checked beside the one that answers; then one reference is replaced, so that no request waits or fails.
"""

import re
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.errors import NoModelToServe
from pipeline_assets.serving.endpoint.scoring import ServedModel
from pipeline_assets.training.model import prediction
from pipeline_assets.versioning.pin.repository import Repository
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore

TABLE = "popularity_model"
FEWEST_DIGITS = 8
"""Of a sha256 that names a model."""
_NIGHT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Models:
    """The models of a project. folder: within the repository whose `datasets/` has pins."""

    def __init__(self, lake: Lake, objects: ObjectStore, folder: Path) -> None:
        self._lake, self._objects, self._folder = lake, objects, folder
        self._seen_version = -1

    def newest(self) -> ServedModel | None:
        """The newest night's model; None if no night has one yet."""
        version, rows = self._lake.version(TABLE), self._rows()
        newest = None if rows.is_empty() else self._load(rows.sort("day").tail(1))
        self._seen_version = version  # not before: a model that could not be read is looked for again
        return newest

    def newer(self, than: ServedModel | None) -> ServedModel | None:
        """The newest model, if the table has changed since the last look and names another one than `than`."""
        if self._lake.version(TABLE) == self._seen_version:
            return None
        newest = self.newest()
        is_same = newest is None or (than is not None and newest.about() == than.about())
        return None if is_same else newest

    def named(self, name: str) -> ServedModel:
        """The model of a night (2026-01-31), of a pinned data set, or of the beginning of its weights' sha256.

        Raises NoModelToServe if there is none, and ReferenceUnreadable.
        """
        rows = self._rows()
        if _NIGHT.fullmatch(name):
            found = rows.filter(pl.col("day").cast(pl.String) == name)
        elif pin := Repository.around(self._folder).find(name):
            found = rows.filter(pl.col("weights_sha256") == pin.models.get(TABLE, ""))
            if found.is_empty() and TABLE in pin.models and pin.table:  # the night was computed again since
                row = {"day": pin.table.last_day, "weights_sha256": pin.models[TABLE], "pin_identity": pin.identity}
                found = pl.DataFrame([row])
        else:
            found = rows.filter(pl.col("weights_sha256").str.starts_with(name) & pl.lit(len(name) >= FEWEST_DIGITS))
        if found.is_empty():
            nights = ", ".join(str(day) for day in rows["day"].sort().tail(5)) or "none"
            raise NoModelToServe(
                f"no model is named {name}: give a night (the newest: {nights}), a pin with a model, or a sha256"
            )
        return self._load(found.sort("day").tail(1))

    def _rows(self) -> pl.DataFrame:
        if not self._lake.exists(TABLE):
            return pl.DataFrame(schema={"day": pl.Date, "weights_sha256": pl.String})
        return self._lake.scan(TABLE).collect()

    def _load(self, found: pl.DataFrame) -> ServedModel:
        row: dict[str, Any] = found.row(0, named=True)
        return ServedModel(
            row["day"],
            row["weights_sha256"],
            row["pin_identity"],
            prediction.load(self._objects.get_content(row["weights_sha256"])),
            row.get("half_width_90"),  # models of earlier versions have none
            row.get("coverage_90"),
        )
