"""Files of two manifests held against each other by path, some at a time. Functions of frames; nothing is read here."""

from collections.abc import Iterator

import polars as pl

from pipeline_assets.versioning.comparison import Files

COLUMNS = pl.Schema({"path": pl.String, "sha256": pl.Binary, "size_bytes": pl.Int64})


def compare(before: Iterator[pl.DataFrame], after: Iterator[pl.DataFrame], examples: int) -> Files:
    """What differs between two manifests, each given in parts with COLUMNS, by ascending path.

    A path's bytes count, not where they lie. examples: how many paths are named of each kind.
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
        for kind, found in kinds.items():
            counts[kind] += found.height
            counts["added_bytes"] += int(found["size_bytes_new"].sum())
            counts["removed_bytes"] += int(found["size_bytes"].sum())
            paths[kind] += found["path"].head(examples - len(paths[kind])).to_list()
    return Files(**counts, **{f"{kind}_paths": found for kind, found in paths.items()})


def windows(before: Iterator[pl.DataFrame], after: Iterator[pl.DataFrame]) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Parts of both that span the same paths, so that a path is never in one pair and its counterpart in another."""
    sides = [_Side(before), _Side(after)]
    while any([side.fill() for side in sides]):  # both are filled
        ends = [side.held["path"][-1] for side in sides if side.held.height]
        yield sides[0].take(min(ends)), sides[1].take(min(ends))


class _Side:
    """Rows that were read and not handed out yet."""

    def __init__(self, parts: Iterator[pl.DataFrame]) -> None:
        self.parts = parts
        self.held = pl.DataFrame(schema=COLUMNS)

    def fill(self) -> bool:
        """Whether there are rows still."""
        while self.held.is_empty() and (part := next(self.parts, None)) is not None:
            self.held = part
        return not self.held.is_empty()

    def take(self, last: str) -> pl.DataFrame:
        """The rows up to this path. What begins the next part can't be before it."""
        count = self.held["path"].search_sorted(last, side="right")
        taken, self.held = self.held.head(count), self.held.slice(count)
        return taken
