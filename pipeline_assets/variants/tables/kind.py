"""Tables as a kind of data: Parquet, with a mask of deleted cells."""

import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import polars as pl

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.kinds import Made, Outcome, Parent, Task, Work
from pipeline_assets.variants.operations import Operations
from pipeline_assets.variants.recipes import Recipe
from pipeline_assets.variants.tables.draft import Draft
from pipeline_assets.variants.tables.frames import ENCODING, MEDIA_TYPE, read_table, write_table
from pipeline_assets.variants.tables.operations import TABLES


class Tables:
    """Frames of any columns, in Parquet.

    labels: {"keys": [...]}, optional: columns that identify rows. Their cells are never deleted or changed, and synthetic
    rows have new ones. Labels are copied.
    """

    name = "tables"
    heeds_labels = False
    labels_version = 1
    operations: Operations = TABLES
    recipes: Mapping[str, Recipe] = {
        "missing_completely_at_random": Recipe("delete_mcar"),
        "missing_at_random": Recipe("delete_mar"),
        "missing_not_at_random": Recipe("delete_mnar"),
        "jittered": Recipe("jitter"),
        "swapped": Recipe("swap_categories"),
        "synthetic": Recipe("synthesize"),
        "synthetic_of_common_rows": Recipe("synthesize", common=5),
    }

    def complete(self, recipe: Recipe) -> Recipe:
        """The recipe resolved; tables have no choice of encoding."""
        return self.operations.resolve(recipe)

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        """Yield variants one by one, in order; consecutive tasks with the same parent read it once."""
        last: Parent | None = None
        frame: pl.DataFrame | UnfitParent = UnfitParent("undecodable", "")
        for task, (parent, *_) in work:
            if parent is not last:
                last, frame = parent, _read(parent)
            yield task, frame if isinstance(frame, UnfitParent) else _variant(task, frame, parent.labels)

    def problems(self, variant: Made) -> list[str]:
        """Missing keys, a mask of another shape, marked cells that are not null, and copies of real rows."""
        copied = _copied(variant)
        faults = [f"{copied} synthetic rows are real ones"] if copied else []
        if not variant.data:
            return faults
        frame = read_table(variant.data)
        faults += [f"the key {key} is no column" for key in variant.labels.get("keys", ()) if key not in frame.columns]
        if frame.height != variant.columns["rows"]:
            faults.append(f"{frame.height} rows, and the column says {variant.columns['rows']}")
        deleted = 0
        if variant.extra_contents:
            mask = read_table(variant.extra_contents["mask_sha256"])
            if mask.height != frame.height or not set(mask.columns) <= set(frame.columns):
                return [*faults, "the mask's shape is not the table's"]
            deleted = int(mask.select(pl.sum_horizontal(pl.all().sum())).item())
            if not all((~mask[name] | frame[name].is_null()).all() for name in mask.columns):
                faults.append("the mask marks a cell that is not null")
        if deleted != variant.columns["cells_deleted"]:
            faults.append(f"the mask marks {deleted} cells, and the column says {variant.columns['cells_deleted']}")
        return faults

    def contact_sheet(self, rows: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        """Each table in a row of pictures: its null, deleted and changed cells; comparisons of synthetic rows."""
        from pipeline_assets.variants.tables.sheet import contact_sheet

        return contact_sheet(rows)


def _copied(variant: Made) -> int:
    steps = json.loads(variant.columns["report_json"])
    return sum(step.get("rows_copied", 0) for step in steps if not step.get("common"))


def _read(parent: Parent) -> pl.DataFrame | UnfitParent:
    try:
        frame = read_table(parent.data)
        keys = parent.labels.get("keys") or ()
        if not isinstance(keys, list | tuple) or not all(key in frame.columns for key in keys):
            raise UnfitParent("bad_labels", f"keys are a list of the table's columns, not {keys!r}")
        return frame
    except UnfitParent as unfit:
        return unfit
    except OSError as error:
        return UnfitParent("undecodable", f"can't be read: {error}")


def _variant(task: Task, frame: pl.DataFrame, labels: Mapping[str, Any]) -> Made | UnfitParent:
    draft = Draft(frame, tuple(labels.get("keys") or ()), task.seed)
    try:
        for number, step in enumerate(task.recipe.steps):
            draft.step = number
            TABLES[step.name].function(draft, **dict(step.parameters))
    except UnfitParent as unfit:
        return unfit
    if draft.frame.equals(frame):
        return UnfitParent("unchanged", "no cell of this table was changed")
    deleted = sum(int(marks.sum()) for marks in draft.deleted.values())
    extra_contents = {"mask_sha256": write_table(draft.mask())} if deleted else {}
    return Made(
        write_table(draft.frame),
        MEDIA_TYPE,
        ENCODING,
        labels=labels,
        columns={
            "rows": draft.frame.height,
            "cells_deleted": deleted,
            "mask_sha256": sha256(extra_contents["mask_sha256"]).hexdigest() if extra_contents else None,
            "report_json": json.dumps(draft.reports, sort_keys=True, separators=(",", ":")),
        },
        extra_contents=extra_contents,
    )
