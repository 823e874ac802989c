import os
from pathlib import Path

import pytest

from pipeline_assets.versioning.checkout.uncached import BLOCK, PIECE_BYTES, Uncached, past_cache

RANGE = 2 * PIECE_BYTES


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, PIECE_BYTES + 1, RANGE, RANGE + 1, 2 * RANGE - 1])
@pytest.mark.parametrize("is_past_cache", [True, False])
def test_a_file_is_what_was_written_whatever_its_size(tmp_path: Path, size: int, is_past_cache: bool) -> None:
    data, uncached = memoryview(os.urandom(size)), Uncached(RANGE)
    with (tmp_path / "file").open("wb") as file:
        descriptor = past_cache(file.fileno()) if is_past_cache else file.fileno()
        for at in range(0, size, RANGE):
            uncached.write(descriptor, at, data[at : at + RANGE])
        os.ftruncate(descriptor, size)
    assert (tmp_path / "file").read_bytes() == data


def test_a_write_that_the_filesystem_does_not_take_past_its_cache_goes_through_it(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        Uncached(RANGE).write(past_cache(file.fileno()), 1, memoryview(b"not at a block's beginning"))
    assert (tmp_path / "file").read_bytes().strip(b"\0") == b"not at a block's beginning"
