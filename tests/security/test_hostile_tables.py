"""Delta logs that somebody damaged or made to name files elsewhere: a clean-up deletes nothing by them."""

import pytest

from pipeline_assets.errors import CleanUpRefused
from pipeline_assets.versioning.gc.table_files import TableFiles, _replay

ADD = '{{"add": {{"path": "{}", "partitionValues": {{"day": "2026-01-01"}}}}}}'


@pytest.mark.parametrize(
    "path", ["../other/a.parquet", "day=x/../../a.parquet", "%2e%2e/a.parquet", "/etc/a", "file:///etc/a"]
)
def test_a_log_that_names_a_file_outside_of_its_table_ends_the_clean_up(path: str) -> None:
    with pytest.raises(CleanUpRefused, match="nothing was deleted"):
        _replay(TableFiles("photos"), 3, ADD.format(path).encode(), {})


@pytest.mark.parametrize("line", ["{", "[1]", "7", "[" * 50_000, '{"a": ' + "9" * 5_000 + "}"])
def test_a_log_entry_that_is_damaged_ends_the_clean_up_with_a_sentence(line: str) -> None:
    with pytest.raises(CleanUpRefused, match="Nothing was deleted"):
        _replay(TableFiles("photos"), 3, line.encode(), {})


def test_a_log_entry_of_ours_is_read() -> None:
    open_files: dict[str, object] = {}
    _replay(TableFiles("photos"), 3, ADD.format("day=2026-01-01/a%20b.parquet").encode(), open_files)  # type: ignore[arg-type]
    assert list(open_files) == ["day=2026-01-01/a b.parquet"]
