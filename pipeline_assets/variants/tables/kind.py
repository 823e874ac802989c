"""Tables as a kind of data: Parquet in, Parquet out, with the truth about what was deleted."""

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

    labels: {"keys": [...]}, optional: columns that name rows. No cell of theirs is deleted or changed, and synthetic rows
    have new ones. Labels are carried.
    """

    name = "tables"
    heeds_labels = False
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
        """Resolved; there is nothing to choose in how a table is written."""
        return self.operations.resolve(recipe)

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        """One by one, in order; a parent is read once for tasks that follow each other."""
        last: Parent | None = None
        frame: pl.DataFrame | UnfitParent = UnfitParent("undecodable", "")
        for task, (parent, *_) in work:
            if parent is not last:
                last, frame = parent, _read(parent)
            yield task, frame if isinstance(frame, UnfitParent) else _made(task, frame, parent.labels)

    def problems(self, made: Made) -> list[str]:
        """Keys that are not there, a mask that is not the table's, cells that it marks and that are not null, copies."""
        copied = _copied(made)
        found = [f"{copied} synthetic rows are real ones"] if copied else []
        if not made.data:
            return found
        frame = read_table(made.data)
        found += [f"the key {key} is no column" for key in made.labels.get("keys", ()) if key not in frame.columns]
        if frame.height != made.columns["rows"]:
            found.append(f"{frame.height} rows, and the column says {made.columns['rows']}")
        deleted = 0
        if made.also:
            mask = read_table(made.also["mask_sha256"])
            if mask.height != frame.height or not set(mask.columns) <= set(frame.columns):
                return [*found, "the mask's shape is not the table's"]
            deleted = int(mask.select(pl.sum_horizontal(pl.all().sum())).item())
            if not all((~mask[name] | frame[name].is_null()).all() for name in mask.columns):
                found.append("the mask marks a cell that is not null")
        if deleted != made.columns["cells_deleted"]:
            found.append(f"the mask marks {deleted} cells, and the column says {made.columns['cells_deleted']}")
        return found

    def contact_sheet(self, shown: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        """Each table in a row of pictures: which cells are null, deleted or changed; of synthetic rows, how they compare."""
        from pipeline_assets.variants.tables.sheet import contact_sheet

        return contact_sheet(shown)


def _copied(made: Made) -> int:
    steps = json.loads(made.columns["report_json"])
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


def _made(task: Task, frame: pl.DataFrame, labels: Mapping[str, Any]) -> Made | UnfitParent:
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
    also = {"mask_sha256": write_table(draft.mask())} if deleted else {}
    return Made(
        write_table(draft.frame),
        MEDIA_TYPE,
        ENCODING,
        labels=labels,
        columns={
            "rows": draft.frame.height,
            "cells_deleted": deleted,
            "mask_sha256": sha256(also["mask_sha256"]).hexdigest() if also else None,
            "report_json": json.dumps(draft.told, sort_keys=True, separators=(",", ":")),
        },
        also=also,
    )
