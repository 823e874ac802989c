"""`darkroom export` and `darkroom import --format`, as commands in a repository, with real PostgreSQL and folders."""

import json
import os
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from click.testing import CliRunner, Result
from formats_world import jpeg
from PIL import Image

from pipeline_assets.commands.main import main

FILES = {f"cats/{n}.jpg": jpeg(n) for n in range(3)} | {"notes.txt": b"no photo"}


@pytest.fixture
def repository(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit and a folder of photos, in which commands talk to servers of their own."""
    for name in list(os.environ):
        if name.startswith(("DARKROOM_", "AWS_", "DAGSTER")):
            monkeypatch.delenv(name)
    root = tmp_path / "repository"
    for name, data in FILES.items():
        (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "photos" / name).write_bytes(data)
    settings = {
        "DARKROOM_HOME": str(tmp_path / "home"),
        "DARKROOM_DATABASE_URL": postgres_url,
        "DARKROOM_DAGSTER_POSTGRES_URL": postgres_url,
        "DARKROOM_UPLOADS_URL": (tmp_path / "uploads").as_uri(),
        "DARKROOM_LAKE_URL": (tmp_path / "lake").as_uri(),
        "DARKROOM_S3_ENDPOINT": "",
        "DARKROOM_S3_ACCESS_KEY": "",
        "DARKROOM_S3_SECRET_KEY": "",
        "DARKROOM_EMBEDDED": "",
        "DARKROOM_ALERT_WEBHOOK": "",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(root)
    author = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "photos"], [*author, "commit", "-qm", "photos"]):
        subprocess.run(["git", *words], check=True, capture_output=True)
    assert darkroom("pin", "cats", "--folder", "photos").exit_code == 0
    return root


def darkroom(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def identity(name: str) -> tuple[str, int]:
    manifest = json.loads(Path("datasets", f"{name}.json").read_bytes())["manifest"]
    return manifest["digest"], manifest["files"]


def test_a_version_goes_out_and_comes_in_again(repository: Path) -> None:
    out = darkroom("export", "cats", "../out", "--format", "webdataset", "--rows-per-shard", "3")
    assert out.exit_code == 0, out.output
    assert "Wrote 4 rows in 3 files" in out.output
    assert sorted(path.name for path in Path("../out").iterdir()) == [
        "_darkroom.json",
        "cats-000000.tar",
        "cats-000001.tar",
    ]
    back = darkroom("import", "../out", "--format", "webdataset", "--name", "again", "--allow-dirty")
    assert back.exit_code == 0, back.output
    assert "Read 4 rows (in rows.parquet)." in back.output
    assert "Wrote datasets/again.json" in back.output
    assert identity("again")[1] == len(FILES) + 1
    assert darkroom("export", "HEAD:cats", "../out2", "--format", "parquet").exit_code == 1


def test_a_format_s_files_become_uploads_once(repository: Path, postgres_url: str) -> None:
    assert darkroom("export", "cats", "../out", "--format", "tfrecord").exit_code == 0
    words = ("import", "../out", "--format", "tfrecord", "--as-uploads", "--days", "2")
    first = darkroom(*words)
    assert first.exit_code == 0, first.output
    assert "4 files uploaded as if on" in first.output
    again = darkroom(*words)
    assert "nothing new: all 4 files were imported before" in again.output
    connection = psycopg2.connect(postgres_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("select name from imports")
            assert {name for (name,) in cursor.fetchall()} == set(FILES)
    finally:
        connection.close()


def test_boxes_of_coco_become_annotations_of_the_uploads(repository: Path, postgres_url: str) -> None:
    Path("../coco/images").mkdir(parents=True)
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (32, 24), colour).save(f"../coco/images/{name}")
    boxes = [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [2, 3, 10, 12.5]},
        {"id": 2, "image_id": 1, "bbox": [0, 0, 0, 0]},
        {"id": 4, "image_id": 1, "category_id": 55, "bbox": [2, 3, 10, 12.5]},
    ]
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    told = {"images": images, "annotations": boxes, "categories": [{"id": 3, "name": "cat"}]}
    Path("../coco/annotations.json").write_text(json.dumps(told))
    done = darkroom("import", "../coco", "--format", "coco", "--as-uploads", "--days", "2")
    assert done.exit_code == 0, done.output
    assert "annotation 4 of a.png: bad_annotation: the category 55 is not in the file" in done.output
    assert "Kept aside: 2 (2 bad_annotation)." in done.output
    with closing(psycopg2.connect(postgres_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select target, labels, p.day = a.day from annotations a join photos p using (key) where key like '%a.png'"
        )
        box = {"x": 2, "y": 3, "width": 10, "height": 12.5, "label": "cat"}
        assert cursor.fetchall() == [("upload", {"boxes": [box]}, True)]
        cursor.execute("select count(*) from annotations")
        assert cursor.fetchone() == (1,)


def test_what_is_kept_aside_is_said_and_listed(repository: Path) -> None:
    assert darkroom("export", "cats", "../out", "--format", "tfrecord").exit_code == 0
    shard = Path("../out/cats-00000.tfrecord")
    shard.write_bytes(shard.read_bytes()[:-10])
    back = darkroom("import", "../out", "--format", "tfrecord", "--name", "less", "--allow-dirty")
    assert back.exit_code == 0, back.output
    assert "Read 3 rows" in back.output
    assert "Kept aside: 1 (1 truncated)." in back.output
    assert identity("less")[1] == 3 + 2


REFUSED = (
    (("export", "dogs", "../out", "--format", "coco"), "ReferenceUnreadable"),
    (("export", "cats", ".", "--format", "coco"), "ExportRefused"),
    (("export", "cats", "../out", "--format", "coco", "--no-bytes"), "ExportRefused"),
    (("export", "cats", "../out", "--format", "parquet", "--days", "2026-01-01"), "ExportRefused"),
    (("export", "cats", "../out", "--format", "xml"), "Invalid value"),
    (("import", "photos", "--format", "coco", "--name", "x", "--allow-dirty"), "ImportRefused"),
    (("import", "s3://x/y", "--format", "coco", "--name", "x", "--allow-dirty"), "ImportRefused"),
    (("import", "photos", "--format", "coco"), "choose --name NAME for a version, or --as-uploads"),
    (("import", "photos", "--format", "coco", "--name", "x", "--as-uploads"), "choose --name NAME"),
    (("import", "photos", "--name", "x"), "need --format"),
)


def test_what_can_not_be_done_is_said_in_one_line(repository: Path) -> None:
    for words, said in REFUSED:
        done = darkroom(*words)
        assert done.exit_code != 0, words
        assert said in done.output, words
        assert "Traceback" not in done.output, words
