"""Checking out where somebody else has chosen what lies in the folder: by a pull request, a clone, an archive, a data set."""

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from on_folders import OnFolders, on_folders

from pipeline_assets.errors import CheckoutRefused, ExportRefused, ManifestBroken
from pipeline_assets.versioning.checkout import checkout as checkouts
from pipeline_assets.versioning.checkout.selection import select
from pipeline_assets.versioning.checkout.state import STATE
from pipeline_assets.versioning.checkout.target import OWN, PARTS, Target
from pipeline_assets.versioning.formats.dvc import dvc
from pipeline_assets.versioning.formats.git_lfs import git_lfs
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.manifest import check
from pipeline_assets.versioning.pin.pins import NO_FILES, Label, reference, store_folder
from pipeline_assets.versioning.pin.reference import Code
from resources.errors import PathEscapes
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore

pytestmark = pytest.mark.slow

SECRET = b"of this home"
PRECIOUS = b"a thesis whose content somebody knows"
checkout = partial(checkouts.checkout, secret=SECRET)


@pytest.fixture
def darkroom(tmp_path: Path) -> OnFolders:
    """With a pinned folder `scans` of one file, and a file of the user's beside the repository."""
    made = on_folders(tmp_path)
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.txt").write_bytes(b"a")
    (tmp_path / "precious.txt").write_bytes(PRECIOUS)
    made.ran("pin", "scans", "--folder", str(tmp_path / "scans"), "--allow-dirty")
    return made


def listed(paths: Sequence[str], content: bytes = PRECIOUS) -> pl.DataFrame:
    """The rows of a record that takes these paths for a checkout's."""
    row = {"sha256": hashlib.sha256(content).digest(), "size_bytes": len(content), "modified_ns": None, "inode": None}
    return pl.DataFrame([{"path": path, **row, "made_from": None, "is_ours": True} for path in paths], schema=STATE)


def forge(target: Path, files: pl.DataFrame, seal: bytes = b"0" * 64) -> None:
    """A record as a stranger can write it, in this format and in the one before, which had no seal."""
    (target / OWN).mkdir(parents=True, exist_ok=True)
    header = json.dumps({"format": 1, "name": "scans", "boot": None, "journal": ""})
    files.write_parquet(target / OWN / "state.parquet", metadata={"darkroom": header})
    body = (target / OWN / "state.parquet").read_bytes()
    (target / OWN / "state").write_bytes(seal + b"\n" + header.replace("1", "2", 1).encode() + b"\n" + body)


@pytest.mark.parametrize("format", ["this one", "the one before"])
@pytest.mark.parametrize("path", ["../../precious.txt", "mine.txt"])
def test_a_record_that_came_with_the_repository_has_nothing_removed(darkroom: OnFolders, path: str, format: str) -> None:
    """The attack: a pull request adds data/.darkroom-checkout, which lists a file outside, or one of yours inside."""
    data = darkroom.repository / "data"
    data.mkdir()
    (data / "mine.txt").write_bytes(PRECIOUS)
    forge(data, listed([path]))
    if format == "the one before":
        (data / OWN / "state").unlink()
    darkroom.merge("data")
    for words in (("--dry-run",), (), ("--force",)):
        said = darkroom.run("checkout", "scans", "data", *words)
        assert said.returncode == 1, said.stdout
        assert "CheckoutRefused" in said.stdout
        assert "Remove the folder .darkroom-checkout and check out again" in " ".join(said.stdout.split())
        assert (data / "mine.txt").read_bytes() == PRECIOUS
        assert (darkroom.root / "precious.txt").read_bytes() == PRECIOUS


@pytest.mark.parametrize("path", ["../precious.txt", "a/../../precious.txt", "/etc/hostname", "a//b", "a\\b", "C:a", ".."])
def test_no_path_of_a_record_leads_out_even_if_this_home_sealed_it(tmp_path: Path, path: str) -> None:
    (tmp_path / "precious.txt").write_bytes(PRECIOUS)
    pinned = pinned_files(tmp_path, {"a.txt": b"a"})
    with Target.held(tmp_path / "target", SECRET) as target:
        target.record.remember("set", listed([path]))
    with pytest.raises(CheckoutRefused, match="it names the path"):
        checkout(pinned, tmp_path / "target", select(pinned))
    assert (tmp_path / "precious.txt").read_bytes() == PRECIOUS


@pytest.mark.parametrize("path", ["../precious.txt", "a/../../precious.txt", "..", "", "a/..", "/precious.txt"])
def test_no_path_leads_out_at_any_use(tmp_path: Path, path: str) -> None:
    (tmp_path / "precious.txt").write_bytes(PRECIOUS)
    with Target.held(tmp_path / "target", SECRET) as target, target.inside("a", make=True):
        pass
    with Target.seen(tmp_path / "target", SECRET) as target:
        assert target.look(pl.Series([path])).filter(kind="file").is_empty()
        for use in (target.sha256, lambda one: target.remove([one])):
            with pytest.raises(PathEscapes):
                use(path)
    assert (tmp_path / "precious.txt").read_bytes() == PRECIOUS


@pytest.mark.parametrize("linked", ["state", "lock", PARTS, ".gitignore"])
def test_a_link_among_the_checkouts_own_files_is_not_followed(tmp_path: Path, linked: str) -> None:
    precious, target = tmp_path / "precious.txt", tmp_path / "target"
    precious.write_bytes(PRECIOUS)
    (target / OWN).mkdir(parents=True)
    (target / OWN / linked).symlink_to(precious)
    pinned = pinned_files(tmp_path, {"a.txt": b"a"})
    with pytest.raises((CheckoutRefused, PathEscapes)):
        checkout(pinned, target, select(pinned))
    assert precious.read_bytes() == PRECIOUS


def test_a_folder_swapped_for_a_link_between_plan_and_removal_loses_nothing_outside(tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    (outside / "b.txt").write_bytes(PRECIOUS)
    both = pinned_files(tmp_path, {"a.txt": b"a", "deep/b.txt": PRECIOUS})
    checkout(both, target, select(both))
    with Target.held(target, SECRET) as held:
        (target / "deep" / "b.txt").unlink()
        (target / "deep").rmdir()
        (target / "deep").symlink_to(outside)
        with pytest.raises(PathEscapes):
            held.remove(["deep/b.txt"])
    assert (outside / "b.txt").read_bytes() == PRECIOUS


def test_a_link_that_git_tracks_is_no_target(darkroom: OnFolders) -> None:
    (darkroom.root / "elsewhere").mkdir()
    (darkroom.repository / "data").symlink_to("../elsewhere")
    assert darkroom.run("checkout", "scans", "data").returncode == 0, "a link of the user's own is followed"
    darkroom.merge("data")
    for target in ("data", "data/below"):
        said = darkroom.run("checkout", "scans", target)
        assert said.returncode == 1
        assert "is a link that git tracks, and leads to" in said.stdout
    assert not (darkroom.root / "elsewhere" / "below").exists()


@pytest.mark.parametrize(
    "path",
    [".git/hooks/post-checkout", "sub/.GIT/config", ".g\u200cit/config", "git~1/config", ".git./config", ".git /config",
     ".darkroom/env", ".DarkRoom/credentials.json", f"a/{OWN}/state", f"{OWN.upper()}/lock", ".darkroom"],
)  # fmt: skip
def test_a_data_set_writes_nothing_where_git_or_darkroom_look_for_their_own(tmp_path: Path, path: str) -> None:
    """Somebody's data set, checked out into the folder that you work in, would have its hooks run and its servers used."""
    pinned = pinned_files(tmp_path, {"a.txt": b"a"})
    named = pinned.files.with_columns(path=pl.lit(path))
    check(named, "a manifest")
    made = reference(label(), named, pinned.stores["objects"], {})
    evil = Pinned(made, pinned.lake, pinned.stores)
    with pytest.raises((CheckoutRefused, ManifestBroken)):
        checkout(evil, tmp_path / "target", select(evil))
    assert not (tmp_path / "target" / path).exists()


def test_a_rehearsal_names_what_would_go(darkroom: OnFolders) -> None:
    darkroom.ran("checkout", "scans", "data", "--link", "copy")
    (darkroom.root / "scans" / "a.txt").unlink()
    (darkroom.root / "scans" / "b[1].txt").write_bytes(b"b")
    darkroom.ran("pin", "scans", "--folder", str(darkroom.root / "scans"), "--allow-dirty")
    (darkroom.repository / "data" / "b[1].txt").write_bytes(b"another")
    said = darkroom.ran("checkout", "scans", "data", "--dry-run", "--force")
    assert "Would remove data/a.txt" in said
    assert "Would replace data/b[1].txt" in said
    assert (darkroom.repository / "data" / "a.txt").read_bytes() == b"a"


def test_git_leaves_a_checkouts_own_folder_alone(darkroom: OnFolders) -> None:
    """What one user's HOME has sealed should reach no clone of another."""
    darkroom.ran("checkout", "scans", "data")
    darkroom.git("add", "--all")
    assert darkroom.git("ls-files", "data") == "data/a.txt"


def test_the_secret_is_for_its_owner_alone_and_stays(darkroom: OnFolders) -> None:
    darkroom.ran("checkout", "scans", "data")
    key = darkroom.home / "checkout.key"
    first = key.read_bytes()
    assert (key.stat().st_mode & 0o777, len(first)) == (0o600, 64)
    assert "1 kept" in darkroom.ran("checkout", "scans", "data")
    assert key.read_bytes() == first
    key.write_bytes(b"")  # as a full disk leaves it: no seal can be made with it
    assert "CheckoutRefused" in darkroom.run("checkout", "scans", "data").stdout
    assert len(key.read_bytes()) == 64


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        (".gitattributes", "precious.txt"),
        (".gitignore", "precious.txt"),
        (".dvc", "outside"),
        ("set.dvc.part", "precious.txt"),
    ],
)
def test_an_export_into_a_repository_writes_through_no_link_of_it(tmp_path: Path, link: str, leads_to: str) -> None:
    (tmp_path / "precious.txt").write_bytes(PRECIOUS)
    (tmp_path / "outside").mkdir()
    pinned = pinned_files(tmp_path, {"a.txt": b"a"})
    tree = on_folders(tmp_path / "work").repository
    (tree / link).symlink_to(tmp_path / leads_to)
    with pytest.raises(ExportRefused, match="is a link: remove it"):
        if link == ".gitattributes":
            git_lfs.export(pinned, tree)
        else:
            dvc.export(pinned, tree, str(tmp_path / "remote"))
    assert (tmp_path / "precious.txt").read_bytes() == PRECIOUS
    assert not list((tmp_path / "outside").iterdir())


def label() -> Label:
    return Label("set", Code(commit=None, clean=False), "someone")


def pinned_files(root: Path, files: dict[str, bytes]) -> Pinned:
    """A data set of these files, in a store below the root."""
    source = root / "source"
    for path, data in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(data)
    store = ObjectStore.open((root / "objects").as_uri())
    stored = store_folder(source, store, NO_FILES, root / "known")
    return Pinned(
        reference(label(), stored.files, store, {}),
        Lake(url=(root / "no-lake").as_uri()),
        {"objects": store, "uploads": store},
    )
