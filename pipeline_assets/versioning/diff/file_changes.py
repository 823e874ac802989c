"""Compares the files of two manifests by path, in batches. Pure functions of frames."""

from collections.abc import Iterator

import polars as pl

from pipeline_assets.versioning.diff.comparison import Files

COLUMNS = pl.Schema({"path": pl.String, "sha256": pl.Binary, "size_bytes": pl.Int64})


def compare(before: Iterator[pl.DataFrame], after: Iterator[pl.DataFrame], examples: int) -> Files:
    """The differences between two manifests, each given in parts with COLUMNS, by ascending path.

    A path's bytes count, not where they lie. examples: limit of paths named per kind of change.
    """
    counts = dict.fromkeys(("added", "removed", "changed", "added_bytes", "removed_bytes"), 0)
    paths: dict[str, list[str]] = {"added": [], "removed": [], "changed": []}
    for old, new in windows(before, after):
        if old.equals(new):
            continue
        pairs = old.join(new, on="path", how="full", coalesce=True, suffix="_new").sort("path")
        kinds = {
            "added": pairs.filter(pl.col("sha256").is_null()),
            "removed": pairs.filter(pl.col("sha256_new").is_null()),
            "changed": pairs.filter(pl.col("sha256") != pl.col("sha256_new")),
        }
        for kind, changes in kinds.items():
            counts[kind] += changes.height
            counts["added_bytes"] += int(changes["size_bytes_new"].sum())
            counts["removed_bytes"] += int(changes["size_bytes"].sum())
            paths[kind] += changes["path"].head(examples - len(paths[kind])).to_list()
    return Files(**counts, **{f"{kind}_paths": changes for kind, changes in paths.items()})


def windows(before: Iterator[pl.DataFrame], after: Iterator[pl.DataFrame]) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Pairs of parts that span the same paths, so that a path and its counterpart are in the same pair."""
    sides = [_Side(before), _Side(after)]
    while any([side.fill() for side in sides]):  # a list, so that both are filled
        ends = [side.rows["path"][-1] for side in sides if side.rows.height]
        yield sides[0].take(min(ends)), sides[1].take(min(ends))


class _Side:
    """One manifest. rows: read and not yet returned."""

    def __init__(self, parts: Iterator[pl.DataFrame]) -> None:
        self.parts = parts
        self.rows = pl.DataFrame(schema=COLUMNS)

    def fill(self) -> bool:
        """Read the next part if needed; whether there are rows left."""
        while self.rows.is_empty() and (part := next(self.parts, None)) is not None:
            self.rows = part
        return not self.rows.is_empty()

    def take(self, last: str) -> pl.DataFrame:
        """Remove and return the rows up to this path; the next part begins after it."""
        count = self.rows["path"].search_sorted(last, side="right")
        rows, self.rows = self.rows.head(count), self.rows.slice(count)
        return rows
