"""The local disk: paths stay below the root, and room is checked before writing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import NoSpace, PathEscapes
from resources.filesystem import Filesystem


def test_a_path_lies_below_the_root_and_its_folder_exists(tmp_path: Path) -> None:
    path = Filesystem(root=str(tmp_path / "fast")).path("stagings", "2026-01-01", "shard-0.arrow")
    assert path == tmp_path / "fast" / "stagings" / "2026-01-01" / "shard-0.arrow"
    path.write_bytes(b"x")


@pytest.mark.parametrize(
    "parts", [("..",), ("a", "..", "..", "b"), ("/etc/passwd",), ("a", "/etc"), (".",), ("",), ("a\0b",), ()]
)
def test_a_path_that_leaves_the_root_is_refused(tmp_path: Path, parts: tuple[str, ...]) -> None:
    with pytest.raises(PathEscapes):
        Filesystem(root=str(tmp_path / "fast")).path(*parts)
    assert {path.name for path in tmp_path.iterdir()} <= {"fast"}


def test_a_symbolic_link_does_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "fast").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "fast" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(PathEscapes):
        Filesystem(root=str(tmp_path / "fast")).path("link", "file")


@given(parts=st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=20), max_size=4))
def test_no_parts_whatever_lead_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    outer = tmp_path_factory.mktemp("outer")
    try:
        path = Filesystem(root=str(outer / "fast")).path(*parts)
    except PathEscapes:
        pass
    else:
        assert path.is_relative_to(outer / "fast")
    assert {path.name for path in outer.iterdir()} <= {"fast"}


def test_room_that_is_there_is_granted_and_room_that_is_not_is_named(tmp_path: Path) -> None:
    disk = Filesystem(root=str(tmp_path / "fast"), reserve_bytes=0)
    disk.require_free(1)
    with pytest.raises(NoSpace, match=r"has .* GB .*: 1000000\.\d\d GB are missing\. Free some"):
        disk.require_free(disk.free_bytes() + 10**15)


def test_the_reserve_is_not_given_away(tmp_path: Path) -> None:
    everything = Filesystem(root=str(tmp_path / "fast"), reserve_bytes=10**18)
    assert everything.free_bytes() == 0
    with pytest.raises(NoSpace):
        everything.require_free(1)
