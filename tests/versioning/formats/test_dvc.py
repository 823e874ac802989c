"""DVC: byte for byte what the real one writes; and what it wrote, in its cache or its remote, is imported."""

import contextlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.errors import ExportRefused, ImportRefused
from pipeline_assets.runtime.transfer import md5_of
from pipeline_assets.versioning.formats import landing
from pipeline_assets.versioning.formats.dvc import contents, dvc, dvc_files
from pipeline_assets.versioning.pin.pins import NO_FILES, PinnedFolder
from resources.errors import InsecureEndpoint
from resources.objects.store import ObjectStore
from tests.versioning.formats.pinned_folders import (
    CONTENTS,
    committed,
    contents_of,
    git,
    opened,
    pinned_folder,
    read,
    written,
)

WRITTEN_BY_DVC = """\
outs:
- md5: 5a27a7d7db1c7972bf7aa7e440468c51.dir
  size: 1048628
  nfiles: 7
  hash: md5
  path: set
"""
"""What DVC 3.67.1 writes for CONTENTS in a folder `set`; the md5 is that of its listing of them."""
CONFIG_BY_DVC = """\
[core]
    remote = darkroom
['remote "darkroom"']
    url = {}
"""


@pytest.fixture
def exported(tmp_path: Path, folder_store: ObjectStore) -> Path:
    """A work tree into which the set was exported, with its remote beside it."""
    dvc.export(pinned_folder(tmp_path / "root", folder_store, CONTENTS), tmp_path / "tree", str(tmp_path / "remote"))
    return tmp_path / "tree"


def imported(tree: Path, store: ObjectStore, before: Any = NO_FILES, **how: Any) -> PinnedFolder:
    return dvc.import_(tree, store, before, tree.parent / "md5.parquet", **how)


def test_each_file_is_byte_for_byte_what_dvc_writes(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "IN_MEMORY_BELOW", 1000)  # so that one content goes the way of large ones
    tree, remote = tmp_path / "tree", tmp_path / "remote"
    assert dvc.export(pinned_folder(tmp_path / "root", store, CONTENTS), tree, str(remote)) == len(CONTENTS)
    assert (tree / "set.dvc").read_text() == WRITTEN_BY_DVC
    assert (tree / ".dvc/config").read_text() == CONFIG_BY_DVC.format(remote)
    assert (tree / ".gitignore").read_text() == "/set\n"
    listing = contents_of(remote).pop("files/md5/5a/27a7d7db1c7972bf7aa7e440468c51.dir")
    keys = {dvc_files.content_key(md5_of(data)): data for data in CONTENTS.values()}
    assert contents_of(remote) == {**keys, "files/md5/5a/27a7d7db1c7972bf7aa7e440468c51.dir": listing}
    assert not list(remote.glob("darkroom-*"))


def test_a_remote_on_s3_is_filled_alike_and_no_secret_is_written(
    tmp_path: Path, folder_store: ObjectStore, s3_url: str, s3_options: dict[str, str], exported: Path
) -> None:
    pinned = pinned_folder(tmp_path / "root", folder_store, CONTENTS)
    dvc.export(pinned, tmp_path / "other", f"{s3_url}/remote/", s3_options)
    on_s3 = ObjectStore.open(f"{s3_url}/remote", **s3_options)
    assert {info.key: on_s3.get(info.key) for info in on_s3.list()} == contents_of(tmp_path / "remote")
    config = (tmp_path / "other/.dvc/config").read_text()
    endpoint = s3_options["endpoint"]
    assert config == CONFIG_BY_DVC.format(f"{s3_url}/remote") + f"    endpointurl = {endpoint}\n"
    found = imported(tmp_path / "other", folder_store, access=s3_options, folder="set")
    assert read(opened(found, folder_store)) == CONTENTS


def test_large_contents_of_a_remote_go_through_a_file(
    tmp_path: Path,
    folder_store: ObjectStore,
    s3_url: str,
    s3_options: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dvc.export(pinned_folder(tmp_path / "root", folder_store, CONTENTS), tmp_path / "tree", s3_url, s3_options)
    monkeypatch.setattr(contents, "IN_MEMORY_BELOW", 1000)
    found = imported(tmp_path / "tree", folder_store, access=s3_options, folder="set")
    assert read(opened(found, folder_store)) == CONTENTS


def test_an_endpoint_of_others_never_gets_our_keys(tmp_path: Path, folder_store: ObjectStore, exported: Path) -> None:
    written(
        exported, {".dvc/config": b"[core]\nremote = r\n['remote \"r\"']\nurl = s3://b\nendpointurl = http://evil.example\n"}
    )
    ours = {"endpoint": "http://127.0.0.1:1", "access_key": "k", "secret_key": "s", "allow_http": True}
    with pytest.raises(ImportRefused, match=r"--endpoint http://evil\.example"):
        imported(exported, folder_store, access=ours)
    with pytest.raises(InsecureEndpoint, match=r"evil\.example"):
        imported(exported, folder_store, access=ours, endpoint="http://evil.example/")


def test_an_export_is_imported_as_the_same_data_set_and_not_read_again(
    tmp_path: Path, store: ObjectStore, exported: Path
) -> None:
    pinned = pinned_folder(tmp_path / "root", store, CONTENTS)
    found = imported(exported, store, folder="set")
    assert opened(found, store).reference.manifest.digest == pinned.reference.manifest.digest
    assert found.read == len(set(CONTENTS.values()))
    again = imported(exported, store, found.files)
    assert (again.read, again.new) == (0, 0)
    assert again.files["path"].to_list() == sorted(f"set/{path}" for path in CONTENTS)


def test_what_was_lost_from_the_store_since_the_import_before_is_imported_again(
    folder_store: ObjectStore, exported: Path
) -> None:
    found = imported(exported, folder_store, folder="set")
    for key in found.files["key"].unique():
        folder_store.delete(key)
    again = imported(exported, folder_store, found.files, folder="set")
    assert read(opened(again, folder_store)) == CONTENTS


def cached(cache: Path, data: bytes, ending: str = "", below: str = "files/md5/") -> str:
    """Put a content into a cache; its name."""
    md5 = md5_of(data)
    written(cache, {f"{below}{md5[:2]}/{md5[2:]}{ending}": data})
    return md5 + ending


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A DVC 3 repository with a directory, a file, and a file of DVC 2, all in its cache."""
    tree = tmp_path / "repository"
    cache = tree / ".dvc/cache"
    listing = dvc_files.directory_json([("x", cached(cache, b"in a folder"))])
    legacy = md5_of(b"line\nline\n")
    written(cache, {f"{legacy[:2]}/{legacy[2:]}": b"line\r\nline\r\n"})
    texts = {
        "some/folder.dvc": f"outs: [{{md5: {cached(cache, listing, '.dir')}, path: folder, hash: md5}}]",
        "one.csv.dvc": f"outs: [{{md5: {cached(cache, b'a file')}, size: 6, path: one.csv, hash: md5}}]\nwdir: deep",
        "old.txt.dvc": f"outs: [{{md5: {legacy}, size: 12, path: old.txt}}]",
    }
    return written(tree, {path: text.encode() for path, text in texts.items()} | {".dvc/config": b""})


def test_files_folders_and_those_of_dvc_2_are_imported_from_the_cache(repository: Path, folder_store: ObjectStore) -> None:
    found = imported(repository, folder_store)
    assert read(opened(found, folder_store)) == {
        "some/folder/x": b"in a folder",
        "deep/one.csv": b"a file",
        "old.txt": b"line\r\nline\r\n",
    }
    only = imported(repository, folder_store, targets=["one.csv.dvc"])
    assert only.files["path"].to_list() == ["deep/one.csv"]


LOCK = """\
schema: '2.0'
stages:
  prepare:
    cmd: python prepare.py
    deps: [{{path: raw, hash: md5, md5: {0}, size: 1}}]
    params: {{params.yaml: {{seed: 1}}}}
    outs:
    - {{path: rows.csv, hash: md5, md5: {1}, size: 6}}
    - {{path: ../images, hash: md5, md5: {2}, nfiles: 1}}
  build@us:
    cmd: python build.py us
    outs: [{{path: model-us.bin, hash: md5, md5: {3}}}]
  score@0-1:
    outs: [{{path: score.json, hash: md5, md5: {4}}}]
  check:
    cmd: 'true'
"""
PIPELINE = """\
stages:
  prepare: {wdir: deep, cmd: python prepare.py, outs: [rows.csv, ../images]}
  build: {foreach: [us, uk], do: {cmd: "python build.py ${item}", outs: ["model-${item}.bin"]}}
  score: {matrix: {a: [0], b: [1]}, cmd: x, metrics: [{score.json: {cache: false}}]}
  check: {cmd: "true"}
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A DVC repository whose data are outputs of stages: plain, of foreach, of a matrix, a folder, and a metric in git."""
    tree = tmp_path / "pipeline"
    cache = tree / ".dvc/cache"
    listing = dvc_files.directory_json([("x.png", cached(cache, b"a picture"))])
    md5s = ["0" * 32, cached(cache, b"a file"), cached(cache, listing, ".dir"), cached(cache, b"us"), md5_of(b"{}")]
    texts = {"sub/dvc.lock": LOCK.format(*md5s), "sub/dvc.yaml": PIPELINE, ".dvc/config": "", "sub/score.json": "{}"}
    return written(tree, {path: text.encode() for path, text in texts.items()})


FROM_STAGES = {
    "sub/deep/rows.csv": b"a file",
    "sub/images/x.png": b"a picture",
    "sub/model-us.bin": b"us",
    "sub/score.json": b"{}",
}


def test_outputs_that_only_stages_name_are_imported(pipeline: Path, folder_store: ObjectStore) -> None:
    found = imported(pipeline, folder_store)
    assert (read(opened(found, folder_store)), found.left_out) == (FROM_STAGES, ())
    again = imported(pipeline, folder_store, found.files)
    assert (again.read, again.new) == (0, 0)
    written(
        pipeline, {"one.dvc": f"outs: [{{md5: {cached(pipeline / '.dvc/cache', b'1')}, path: one, hash: md5}}]".encode()}
    )
    both = imported(pipeline, folder_store)
    assert read(opened(both, folder_store)) == {**FROM_STAGES, "one": b"1"}
    only = imported(pipeline, folder_store, targets=["sub/dvc.lock"])
    assert read(opened(only, folder_store)) == FROM_STAGES


def test_a_lock_of_dvc_1_is_read_too(pipeline: Path, folder_store: ObjectStore) -> None:
    md5 = cached(pipeline / ".dvc/cache", b"old", below="")
    written(pipeline, {"sub/dvc.lock": f"check: {{cmd: x, outs: [{{path: old, md5: {md5}}}]}}".encode()})
    assert read(opened(imported(pipeline, folder_store), folder_store)) == {"sub/old": b"old"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sub/score.json": b"other"}, "sub/score.json: it is neither in the cache nor the remote"),
        ({"sub/dvc.yaml": PIPELINE.replace("  score:", "  other:").encode()}, "its stage score@0-1 is not in dvc.yaml"),
        (
            {"sub/dvc.yaml": PIPELINE.replace("cmd: x", "cmd: x, wdir: 'a/${item.a}'").encode()},
            r"works in a/\$\{item.a\}, which is filled in",
        ),
    ],
)
def test_an_output_of_a_stage_that_can_not_be_had_is_said_and_costs_no_other(
    pipeline: Path, folder_store: ObjectStore, change: dict[str, bytes], told: str
) -> None:
    found = imported(written(pipeline, change), folder_store)
    expected = {path: data for path, data in FROM_STAGES.items() if path != "sub/score.json"}
    assert read(opened(found, folder_store)) == expected
    [said] = found.left_out
    assert re.search(told, said), said


def test_a_folder_of_a_stage_that_was_never_pushed_is_said(pipeline: Path, folder_store: ObjectStore) -> None:
    for listing in (pipeline / ".dvc/cache").rglob("*.dir"):
        listing.unlink()
    found = imported(pipeline, folder_store)
    assert "sub/images of sub/dvc.lock: The listing" in found.left_out[0]
    shutil.rmtree(pipeline / ".dvc/cache")
    (pipeline / "sub/score.json").unlink()
    with pytest.raises(ImportRefused, match=r"Nothing that .* names is available"):
        imported(pipeline, folder_store)


@pytest.mark.parametrize(
    ("lock", "told"),
    [
        ("schema: '2.0'\nstages: 7", "no valid DVC file"),
        ("schema: '2.0'", "no valid DVC file"),
        ("stages: [", "no valid DVC file"),
        ("stages: !!int ''", "no valid DVC file"),
        ("schema: '2.0'\nstages: {a: 7}", "no valid DVC file"),
        ("schema: '2.0'\nstages: {check: {outs: [7]}}", "is available, first 7 of"),
        ("schema: '2.0'\nstages: {check: {outs: [{path: s3://b/x, etag: y}]}}", "by no md5"),
        ("schema: '2.0'\nstages: {check: {outs: [{path: ../../x, md5: %s}]}}" % ("a" * 32), "can't be part"),
        ("", "DVC tracks nothing there"),
    ],
)
def test_a_lock_that_is_broken_or_leads_out_is_said(pipeline: Path, folder_store: ObjectStore, lock: str, told: str) -> None:
    written(pipeline, {"sub/dvc.lock": lock.encode()})
    with pytest.raises(ImportRefused, match=told):
        imported(pipeline, folder_store)


def test_what_the_cache_lacks_or_has_damaged_comes_from_the_remote(exported: Path, folder_store: ObjectStore) -> None:
    md5 = md5_of(CONTENTS["a-b"])
    written(exported, {f".dvc/cache/{dvc_files.content_key(md5)}": b"damaged"})
    assert read(opened(imported(exported, folder_store, folder="set"), folder_store)) == CONTENTS


def test_missing_and_damaged_contents_are_told_and_nothing_is_imported(exported: Path, folder_store: ObjectStore) -> None:
    place = exported.parent / "remote" / dvc_files.content_key(md5_of(CONTENTS["a-b"]))
    place.write_bytes(b"damaged")
    with pytest.raises(ImportRefused, match=r"1 of 7 files are missing, first set/a-b \(it is damaged.*\).*dvc fetch"):
        imported(exported, folder_store)
    shutil.rmtree(exported.parent / "remote/files")
    with pytest.raises(ImportRefused, match="is neither in"):
        imported(exported, folder_store)


@pytest.mark.parametrize(
    ("listing", "told"),
    [
        (b"[", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b'{"a": 1}', "is damaged"),
        (b'[{"md5": "x", "relpath": "a"}]', "which is none"),
        (b'[{"relpath": "a"}]', "is damaged"),
        (json.dumps([{"md5": "a" * 32, "relpath": "../../escaped"}]).encode(), "absolute, or has"),
        (json.dumps([{"md5": "a" * 32, "relpath": "/etc/passwd"}]).encode(), "absolute, or has"),
        (json.dumps([{"md5": "a" * 32, "relpath": 7}]).encode(), "it is no text"),
        (json.dumps([{"md5": "a" * 32, "relpath": "a"}] * 2).encode(), "names a path twice"),
    ],
)
def test_a_listing_that_is_broken_or_leads_out_is_refused(
    tmp_path: Path, folder_store: ObjectStore, listing: bytes, told: str
) -> None:
    tree = tmp_path / "tree"
    named = cached(tree / ".dvc/cache", listing, ".dir")
    written(tree, {"set.dvc": f"outs: [{{md5: {named}, path: set, hash: md5}}]".encode()})
    with pytest.raises(ImportRefused, match=told):
        imported(tree, folder_store)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "",
        "outs",
        "outs: 7",
        "outs: [7]",
        "outs: [{path: a}]",
        "a: [",
        "outs: [{md5: zz, path: a}]",
        "outs: [{md5: 30681dcca80723d101d3e00772f428a1, path: ../a}]",
        "outs: [{md5: 30681dcca80723d101d3e00772f428a1, path: /a}]",
        "outs: [{md5: 30681dcca80723d101d3e00772f428a1, path: a, size: -1}]",
        "outs: [{md5: 30681dcca80723d101d3e00772f428a1, path: a, cache: false}]",
        "outs: [{etag: x, path: a, cloud: {s3: {}}}]",
        "outs: !!python/object/apply:os.system ['true']",
        "outs: [{md5: 2001-99-99, path: a}]",
        "outs: &a [*a]",
    ],
)
def test_a_dvc_file_that_is_broken_or_leads_out_is_refused(tmp_path: Path, folder_store: ObjectStore, text: str) -> None:
    written(tmp_path / "tree", {"a.dvc": text.encode(), ".dvc/config": b""})
    with pytest.raises(ImportRefused, match=r"a\.dvc"):
        imported(tmp_path / "tree", folder_store)


def test_repositories_that_are_none_and_settings_that_are_broken_are_refused(
    tmp_path: Path, folder_store: ObjectStore
) -> None:
    with pytest.raises(ImportRefused, match=r"has no \.dvc folder"):
        imported(tmp_path, folder_store)
    written(tmp_path, {".dvc/config": b""})
    with pytest.raises(ImportRefused, match=r"no \.dvc files"):
        imported(tmp_path, folder_store)
    with pytest.raises(ImportRefused, match="can't be read"):
        imported(tmp_path, folder_store, targets=["no.dvc"])
    written(tmp_path, {".dvc/config": b"remote = 1"})
    with pytest.raises(ImportRefused, match="can't be read as DVC's settings"):
        imported(tmp_path, folder_store)
    written(tmp_path, {".dvc/config": b"[core]\nremote=r\n['remote \"r\"']\nurl=gs://b\n"})
    written(tmp_path, {"a.dvc": b"outs: [{md5: 30681dcca80723d101d3e00772f428a1, path: a, hash: md5}]"})
    with pytest.raises(ImportRefused, match="neither a folder nor S3"):
        imported(tmp_path, folder_store)


def test_a_later_version_needs_no_remote_named_and_sends_only_what_is_new(
    tmp_path: Path, folder_store: ObjectStore, exported: Path
) -> None:
    before = contents_of(tmp_path / "remote")
    committed(exported)
    dvc.export(pinned_folder(tmp_path / "root", folder_store, {**CONTENTS, "a-b": b"other"}), exported)
    assert len(contents_of(tmp_path / "remote").keys() - before.keys()) == 2
    assert (exported / ".dvc/config").read_text() == CONFIG_BY_DVC.format(tmp_path / "remote")
    assert (exported / ".gitignore").read_text() == "/set\n"


def test_a_dvc_file_that_git_has_not_is_never_replaced(tmp_path: Path, folder_store: ObjectStore, exported: Path) -> None:
    pinned = pinned_folder(tmp_path / "root", folder_store, {"a": b"other"})
    with pytest.raises(ExportRefused, match=r"set\.dvc would be replaced"):
        dvc.export(pinned, exported)
    assert (exported / "set.dvc").read_text() == WRITTEN_BY_DVC


def test_a_repository_keeps_its_own_default_remote(tmp_path: Path, folder_store: ObjectStore) -> None:
    tree = written(tmp_path / "tree", {".dvc/config": CONFIG_BY_DVC.replace("darkroom", "mine").format("/mine").encode()})
    git(tree, "init", "-q")
    pinned = pinned_folder(tmp_path / "root", folder_store, CONTENTS)
    dvc.export(pinned, tree, (tmp_path / "remote").as_uri())
    config = dvc_files.Config(tree / ".dvc")
    assert (config.remote(), config.remote("darkroom")) == ("/mine", str(tmp_path / "remote"))
    assert (tree / "set.dvc").read_text() == f"{WRITTEN_BY_DVC}  remote: darkroom\n"
    with pytest.raises(ExportRefused, match="has a remote darkroom at"):
        dvc.export(pinned, tree, str(tmp_path / "elsewhere"))


def test_where_no_remote_is_known_or_git_has_the_files_nothing_is_written(tmp_path: Path, folder_store: ObjectStore) -> None:
    pinned = pinned_folder(tmp_path / "root", folder_store, CONTENTS)
    with pytest.raises(ExportRefused, match="has no DVC remote"):
        dvc.export(pinned, tmp_path / "tree")
    committed(written(tmp_path / "tree", {"set/a": b"in git"}))
    with pytest.raises(ExportRefused, match="git rm -r --cached set"):
        dvc.export(pinned, tmp_path / "tree", str(tmp_path / "remote"))
    assert not (tmp_path / "remote").exists()


PIECES = [
    "outs",
    ":",
    " ",
    "-",
    "\n",
    "md5",
    "path",
    "[",
    "]",
    "{",
    "}",
    ",",
    "a",
    "&x",
    "*x",
    "!!",
    "2001-99-99",
    "'",
    "30681dcca80723d1",
]
anything = st.binary() | st.lists(st.sampled_from(PIECES)).map(lambda pieces: "".join(pieces).encode())


@settings(deadline=None)
@given(anything)
def test_whatever_lies_in_dvcs_files_is_read_or_refused(data: bytes) -> None:
    directory = dvc_files.Output("a", "b" * 32, None, is_directory=True, is_legacy=False, source="a.dvc")
    lock = b"schema: '2.0'\nstages: {a: {outs: [{path: a, md5: " + data + b"}]}}"
    for read_it in (
        lambda: dvc_files.outputs(data, "a.dvc"),
        lambda: dvc_files.entries(data, directory),
        lambda: dvc_files.locked(data, data, "dvc.lock")[0],
        lambda: dvc_files.locked(lock, b"stages: {a: {}}", "dvc.lock")[0],
    ):
        with contextlib.suppress(ImportRefused):
            assert isinstance(read_it(), list)
