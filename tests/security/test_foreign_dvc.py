"""DVC repositories of strangers: their settings send no signed request, their commands are not run, their links not followed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from pipeline_assets.errors import ExportRefused, ImportRefused
from pipeline_assets.runtime.transfer import md5_of
from pipeline_assets.versioning.formats.dvc import dvc, dvc_files
from pipeline_assets.versioning.pin.pins import NO_FILES, PinnedFolder
from resources.objects.store import ObjectStore
from tests.versioning.formats.pinned_folders import git, opened, pinned_folder, read, written

pytestmark = pytest.mark.timeout(60)
OURS = {"endpoint": "http://127.0.0.1:1", "access_key": "ours", "secret_key": "secret", "allow_http": True}
ABSENT = "f" * 32


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open((tmp_path / "objects").as_uri())


def imported(tree: Path, store: ObjectStore, **how: object) -> PinnedFolder:
    return dvc.import_(tree, store, NO_FILES, tree.parent / "md5.parquet", **how)  # type: ignore[arg-type]


@dataclass
class Stranger:
    """An S3 server of a stranger: the authorizations that it was sent."""

    url: str
    authorizations: list[str] = field(default_factory=list)


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stranger]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OFTHEENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    seen = Stranger("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.authorizations.append(self.headers.get("authorization", ""))
            self.send_response(404)
            self.send_header("content-length", "0")
            self.end_headers()

        do_HEAD = do_PUT = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        seen.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield seen
        server.shutdown()


def with_remote(tree: Path, *settings: str) -> Path:
    """A DVC repository that tracks one file, whose content only its remote may have."""
    config = "\n".join(["[core]", "remote = r", "['remote \"r\"']", *settings, ""])
    return written(
        tree, {".dvc/config": config.encode(), "a.dvc": f"outs: [{{md5: {ABSENT}, path: a, hash: md5}}]".encode()}
    )


def test_an_endpoint_that_only_the_repository_names_is_sent_nothing(
    tmp_path: Path, store: ObjectStore, stranger: Stranger
) -> None:
    tree = with_remote(tmp_path / "tree", "url = s3://bucket/x", f"endpointurl = {stranger.url}")
    with pytest.raises(ImportRefused, match=f"--endpoint {stranger.url}"):
        imported(tree, store, access=OURS)
    with pytest.raises(ImportRefused, match=f"--endpoint {stranger.url}"):
        imported(tree, store, access=OURS, endpoint="http://127.0.0.1:2")
    (tree / ".dvc/config").rename(tree / ".dvc/config.local")
    with pytest.raises(ImportRefused, match=f"--endpoint {stranger.url}"):
        imported(tree, store, access=OURS)
    assert stranger.authorizations == []


def test_an_export_sends_no_data_to_an_endpoint_that_only_the_repository_names(
    tmp_path: Path, store: ObjectStore, stranger: Stranger
) -> None:
    tree = with_remote(tmp_path / "tree", "url = s3://bucket/x", f"endpointurl = {stranger.url}")
    git(tree, "init", "-q")
    with pytest.raises(ImportRefused, match=f"--endpoint {stranger.url}"):
        dvc.export(pinned_folder(tmp_path / "root", store, {"secret": b"data"}), tree, access=OURS)
    assert stranger.authorizations == []


@pytest.mark.parametrize("ours", [{}, OURS])
def test_a_bucket_of_aws_that_only_the_repository_names_is_asked_for_nothing(
    tmp_path: Path, store: ObjectStore, stranger: Stranger, ours: dict[str, str]
) -> None:
    """Whose bucket it is learns whose key has signed."""
    tree = with_remote(tmp_path / "tree", "url = s3://bucket/x")
    with pytest.raises(ImportRefused, match="--endpoint aws"):
        imported(tree, store, access=ours)


def test_an_endpoint_that_the_user_names_is_asked_with_the_users_credentials_whatever_the_repository_says_of_them(
    tmp_path: Path, store: ObjectStore, stranger: Stranger
) -> None:
    keys = written(tmp_path, {"keys": b"[default]\naws_access_key_id = THEIRS\naws_secret_access_key = theirs\n"}) / "keys"
    tree = with_remote(
        tmp_path / "tree",
        "url = s3://bucket/x",
        f"endpointurl = {stranger.url}",
        "profile = default",
        f"credentialpath = {keys}",
        f"configpath = {keys}",
        "access_key_id = THEIRS",
        "secret_access_key = theirs",
        "ssl_verify = false",
        "use_ssl = false",
    )
    with pytest.raises(ImportRefused, match="1 of 1 files are missing"):
        imported(tree, store, access=OURS, endpoint=stranger.url)
    assert stranger.authorizations
    assert all("Credential=OFTHEENVIRONMENT/" in told for told in stranger.authorizations)


def test_nothing_that_a_pipeline_names_is_run(tmp_path: Path, store: ObjectStore) -> None:
    ran = tmp_path / "ran"
    cmd = f"touch {ran}"
    data = b"data"
    md5 = md5_of(data)
    tree = written(
        tmp_path / "tree",
        {
            ".dvc/config": f"[core]\nanalytics = true\n[hydra]\nplugins_path = {tmp_path}\n[machine]\ncmd = {cmd}\n".encode(),
            f".dvc/cache/{dvc_files.content_key(md5)}": data,
            ".dvc/plugins/__init__.py": f"import os; os.system({cmd!r})".encode(),
            "dvc.yaml": f"vars: [{{a: '$({cmd})'}}]\nstages: {{s: {{cmd: '{cmd}', outs: [out], frozen: false}}}}".encode(),
            "dvc.lock": f"schema: '2.0'\nstages: {{s: {{cmd: '{cmd}', outs: [{{path: out, md5: {md5}, hash: md5}}]}}}}".encode(),
            "b.dvc": f"cmd: {cmd}\nouts: [{{md5: {md5}, path: b, hash: md5}}]".encode(),
            "c.dvc": f"deps: [{{url: 'ssh://127.0.0.1/$({cmd})'}}]\nouts: [{{md5: {md5}, path: c, hash: md5}}]".encode(),
        },
    )
    assert read(opened(imported(tree, store), store)) == {"out": data, "b": data, "c": data}
    assert not ran.exists()


@pytest.mark.parametrize("name", [".dvc/config", ".dvc/config.local", "a.dvc", "dvc.lock", "dvc.yaml"])
@pytest.mark.parametrize("what", ["a link out", "an endless device", "a pipe", "a large file"])
def test_a_file_of_dvcs_that_is_no_file_or_leads_out_is_refused(
    tmp_path: Path, store: ObjectStore, name: str, what: str
) -> None:
    lock = b"schema: '2.0'\nstages: {s: {outs: [{path: out, md5: " + b"f" * 32 + b", hash: md5}]}}"
    tree = written(with_remote(tmp_path / "tree", "url = ../nowhere"), {"dvc.lock": lock})
    place = tree / name
    place.unlink(missing_ok=True)
    if what == "a link out":
        place.symlink_to(written(tmp_path, {"private": b"[default]\naws_secret_access_key = mine\n"}) / "private")
    elif what == "an endless device":
        place.symlink_to("/dev/zero")
    elif what == "a pipe":
        os.mkfifo(place)
    else:
        with place.open("wb") as file:
            file.truncate(2**40)
    with pytest.raises(ImportRefused, match=f"{name}.*(link|more than)"):
        imported(tree, store)


@pytest.mark.parametrize("what", ["content", "listing", "result"])
@pytest.mark.parametrize("way", ["link", "folder", "pipe"])
def test_a_content_that_is_a_link_out_or_a_pipe_is_not_read(tmp_path: Path, store: ObjectStore, what: str, way: str) -> None:
    """Also if the link leads to the very bytes: who knows a file's hash must not get the file."""
    data = dvc_files.directory_json([]) if what == "listing" else b"private"
    md5, ending = md5_of(data), dvc_files.DIRECTORY if what == "listing" else ""
    tree = with_remote(tmp_path / "tree", "url = ../nowhere")
    if what == "result":
        (tree / "a.dvc").unlink()
        lock = f"schema: '2.0'\nstages: {{s: {{outs: [{{path: d/out, md5: {md5}, hash: md5}}]}}}}"
        written(tree, {"dvc.lock": lock.encode(), "dvc.yaml": b"stages: {s: {cmd: x, outs: [d/out]}}"})
        place = tree / "d/out"
    else:
        written(tree, {"a.dvc": f"outs: [{{md5: {md5}{ending}, path: a, hash: md5}}]".encode()})
        place = tree / ".dvc/cache" / (dvc_files.content_key(md5) + ending)
    mine = written(tmp_path / "mine", {place.name: data})
    if way == "folder":
        place.parent.parent.mkdir(parents=True, exist_ok=True)
        place.parent.symlink_to(mine)
    else:
        place.parent.mkdir(parents=True)
        if way == "pipe":
            os.mkfifo(place)
        else:
            place.symlink_to(mine / place.name)
    with pytest.raises(ImportRefused, match=r"are missing|is available|is neither in"):
        imported(tree, store)


@pytest.mark.parametrize("name", [".gitignore", ".dvc", ".dvc/config", ".dvc/.gitignore", "set.dvc", "set.dvc.part"])
def test_an_export_writes_through_no_link(tmp_path: Path, store: ObjectStore, name: str) -> None:
    tree = tmp_path / "tree"
    git(tmp_path, "init", "-q", str(tree))
    mine = tmp_path / "mine"
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).symlink_to(mine)
    if name == ".dvc":
        mine.mkdir()
    else:
        mine.write_bytes(b"")
    pinned = pinned_folder(tmp_path / "root", store, {"a": b"data"})
    with pytest.raises(ExportRefused, match="is a link"):
        dvc.export(pinned, tree, str(tmp_path / "remote"))
    assert not (tmp_path / "remote").exists()
    assert mine.read_bytes() == b"" if mine.is_file() else list(mine.iterdir()) == []
