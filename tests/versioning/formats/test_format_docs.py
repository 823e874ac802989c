"""The page on formats: its code runs on real exports, and its tables name what there is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from formats_world import ROWS, World, exported

from pipeline_assets.versioning.formats import FORMATS

PAGE = (Path(__file__).parents[3] / "docs" / "interop.md").read_text()
FORMATS_PACKAGE = Path(__file__).parents[3] / "pipeline_assets" / "versioning"


def first_cells(heading: str) -> set[str]:
    """The code in the first column of the table with this heading."""
    [table] = re.findall(rf"^\| {heading} \|.*\n(?:\|.*\n)+", PAGE, re.MULTILINE)
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}


@pytest.mark.slow
def test_the_examples_of_the_page_read_what_is_exported(world: World, tmp_path: Path) -> None:
    pinned, rows, _ = world.table()
    for kind in FORMATS:
        exported(pinned, tmp_path / kind, kind)
    names = ("Parquet and Feather", "HDF5", "TFRecord", "WebDataset", "COCO")
    examples = [re.findall(rf'^```python\n("""{name}\.""".*?)^```', PAGE, re.M | re.S) for name in names]
    assert [len(found) for found in examples] == [1] * len(names)
    (tmp_path / "all.py").write_text("\n".join(code for [code] in examples))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "all.py"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{ROWS} {ROWS}\n" in done.stdout
    assert f"({ROWS}, 3) {rows['followers_at_post'].count()} b'\\xff\\xd8'" in done.stdout
    assert "000000023 (30, 40, 3) tabby (3,)" in done.stdout


def test_every_format_of_the_commands_has_a_row() -> None:
    told = set(re.findall(r"^\| `(\w+)` \| `?(?:NAME|images)", PAGE, re.MULTILINE))
    assert set(FORMATS) <= told


def test_every_reason_of_a_rejected_row_is_documented() -> None:
    source = "".join(path.read_text() for path in FORMATS_PACKAGE.glob("formats/**/*.py"))
    given = set(re.findall(r'"(bad_\w+|truncated|unreadable|no_key|duplicate\w*|schema|too_large|unsafe_path)"', source))
    given |= set(re.findall(r'"(not_a_file|link|external|missing|sha256_differs|reserved_path|unsupported)"', source))
    assert {"bad_crc", "not_a_file", "unsupported", "reserved_path"} <= given
    assert first_cells("reason") == given
