"""Files of two manifests, compared in parts of any size."""

from collections.abc import Iterator

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.versioning.diff.comparison import Files
from pipeline_assets.versioning.diff.file_changes import COLUMNS, compare

manifests = st.dictionaries(st.text("ab/", min_size=1, max_size=4), st.integers(0, 3), max_size=12)
sizes = st.integers(1, 4)


def parts(files: dict[str, int], size: int) -> Iterator[pl.DataFrame]:
    rows = [(path, bytes([content]), content) for path, content in files.items()]
    yield from pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("path").iter_slices(size)


@settings(deadline=None)
@given(manifests, manifests, sizes, sizes)
def test_parts_of_any_size_give_the_difference_of_the_whole(
    before: dict[str, int], after: dict[str, int], size: int, other: int
) -> None:
    added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    changed = sorted(path for path in before.keys() & after.keys() if before[path] != after[path])
    assert compare(parts(before, size), parts(after, other), examples=2) == Files(
        added=len(added),
        removed=len(removed),
        changed=len(changed),
        added_bytes=sum(after[path] for path in added + changed),
        removed_bytes=sum(before[path] for path in removed + changed),
        added_paths=added[:2],
        removed_paths=removed[:2],
        changed_paths=changed[:2],
    )


@settings(deadline=None)
@given(manifests, sizes, sizes)
def test_files_compared_with_themselves_have_no_changes(files: dict[str, int], size: int, other: int) -> None:
    found = compare(parts(files, size), parts(files, other), examples=2)
    assert (found.added, found.removed, found.changed) == (0, 0, 0)
