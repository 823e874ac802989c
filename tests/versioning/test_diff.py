"""Two pins compared: real Delta tables and manifests on a folder and on S3."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import pytest
from git_repository import commit, repository

from pipeline_assets.errors import ManifestBroken, NotComparable
from pipeline_assets.framework.declaration import Declaration
from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.versioning.diff import diff, diff_page, diff_text
from pipeline_assets.versioning.diff.comparison import Comparison
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.manifest import SCHEMA
from pipeline_assets.versioning.pin.pins import Label, reference
from pipeline_assets.versioning.pin.reference import Code, TableVersion
from pipeline_assets.versioning.pin.repository import Repository
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore

FIRST = date(2026, 3, 1)
EVIL = "<script>alert(1)</script>[bold]"


class Pictures(dy.Schema):
    day = dy.Date(primary_key=True)
    name = dy.String(primary_key=True)
    size = dy.Int64()
    kind = dy.String()
    vector = dy.List(dy.Float32(), metadata={"bulk": True})
    took_s = dy.Float64(metadata={"volatile": True})
    likes = dy.Int64(nullable=True, metadata={"label": True})


PICTURES = Declaration("pictures", Pictures, {}, lambda: None, None, (), False, "", {}, None, ())


def rows(day: int, **columns: list[Any]) -> pl.DataFrame:
    """Three rows of a day, with other values in some columns."""
    plain: dict[str, list[Any]] = {
        "day": [FIRST + timedelta(days=day)] * 3,
        "name": ["a", "b", "c"],
        "size": [1, 2, 3],
        "kind": ["cat", "cat", "dog"],
        "vector": [[1.0, 2.0]] * 3,
        "took_s": [float(datetime.now(UTC).microsecond)] * 3,
        "likes": [None, 5, 6],
    }
    return pl.DataFrame(plain | columns, schema=Pictures.create_empty().schema)


class Bench:
    """A lake, a store and a repository, and pins of a small table in them."""

    def __init__(self, lake: Lake, store: ObjectStore, repo: Repository) -> None:
        self.lake, self.store, self.repository = lake, store, repo

    def write(self, *frames: pl.DataFrame) -> None:
        for frame in frames:
            self.lake.replace("pictures", [frame["day"][0]], frame)

    def pin(self, files: dict[str, bytes] | None = None, asset: str | None = "pictures", days: int = 4) -> Pinned:
        listed = [(path, content * 32, 10, "objects", "k", None, None) for path, content in sorted((files or {}).items())]
        version = max(self.lake.version("pictures"), 0)
        span = {"first_day": FIRST, "last_day": FIRST + timedelta(days=days - 1)}
        table = TableVersion(version=version, rows=3, digest=f"{version:032}", **span)
        label = Label("pictures", Code(commit=self.repository.git("rev-parse", "HEAD").strip(), clean=True), "Ann")
        tables = {asset: table} if asset else None
        manifest = pl.DataFrame(listed, schema=SCHEMA, orient="row")
        made = reference(label, manifest, self.store, {}, asset, tables)
        return Pinned(made, self.lake, {"objects": self.store})

    def compare(self, a: Pinned, b: Pinned, **options: Any) -> Comparison:
        return diff.compare(("old", a), ("new", b), self.repository, lambda _: PICTURES, **options)


@pytest.fixture(params=["folder", "s3"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, object_store: Callable[[str], ObjectStore]) -> Bench:
    if request.param == "s3":
        lake = Lake(url=request.getfixturevalue("s3_url"), **request.getfixturevalue("s3_options"))
    else:
        lake = Lake(url=(tmp_path / "lake").as_uri())
    return Bench(lake, object_store(request.param), repository(tmp_path / "repository"))


@pytest.fixture
def folder(tmp_path: Path, object_store: Callable[[str], ObjectStore]) -> Bench:
    return Bench(Lake(url=(tmp_path / "lake").as_uri()), object_store("folder"), repository(tmp_path / "repository"))


def test_each_kind_of_change_is_told_apart(bench: Bench) -> None:
    bench.write(rows(0), rows(1), rows(2))
    before = bench.pin({"same": b"a", "gone": b"b", "other": b"c"})
    bench.write(
        rows(1, name=["a", "b", "d"], size=[1, 20, 3], likes=[4, None, 6], vector=[[1.0, 2.0], [1.0, 3.0], [0.0]]), rows(3)
    )
    found = bench.compare(before, bench.pin({"same": b"a", "new": b"b", "other": b"d"}))
    assert found.rows is not None
    assert (found.rows.before, found.rows.after) == (9, 12)
    assert (found.rows.added, found.rows.removed, found.rows.changed) == (4, 1, 2)
    assert found.rows.days == [FIRST + timedelta(days=1), FIRST + timedelta(days=3)]
    assert found.rows.removed_keys == [{"day": "2026-03-02", "name": "c"}]
    assert {column.column: column.rows for column in found.rows.columns} == {"size": 1, "vector": 1}
    (size,) = (column for column in found.rows.columns if column.column == "size")
    assert [one.model_dump() for one in size.examples] == [
        {"key": {"day": "2026-03-02", "name": "b"}, "before": 2, "after": 20}
    ]
    (likes,) = found.rows.labels
    assert (likes.column, likes.appeared, likes.vanished, likes.moved) == ("likes", 1, 1, 0)
    assert (found.files.added_paths, found.files.removed_paths) == (["new"], ["gone"])
    assert found.files.changed_paths == ["other"]
    drift = {one.column: one for one in found.drift or ()}
    assert drift.keys() == {"size", "kind", "likes"}
    assert drift["size"].mean_before == pytest.approx(2)
    assert drift["size"].mean_after == pytest.approx((6 + 24 + 6 + 6) / 12)
    assert drift["likes"].missing_after == pytest.approx(4 / 12)
    assert not found.is_empty


def test_a_pin_compared_with_itself_is_empty(folder: Bench) -> None:
    folder.write(rows(0))
    pinned = folder.pin({"a": b"a"})
    found = folder.compare(pinned, pinned)
    assert found.is_empty
    assert found.drift == []


def test_a_day_written_again_with_the_same_rows_is_read_and_has_no_change(folder: Bench) -> None:
    folder.write(rows(0))
    before = folder.pin()
    folder.write(rows(0).reverse())
    found = folder.compare(before, folder.pin())
    assert found.is_empty
    assert found.rows is not None
    assert found.rows.days == [FIRST]
    assert found.tables[0].version_before != found.tables[0].version_after


def test_days_that_only_one_pin_spans_are_added_rows(folder: Bench) -> None:
    folder.write(rows(0), rows(1))
    found = folder.compare(folder.pin(days=1), folder.pin(days=2))
    assert found.rows is not None
    assert (found.rows.before, found.rows.added, found.rows.changed) == (3, 3, 0)


def test_columns_that_came_went_and_have_another_type_are_named(folder: Bench) -> None:
    folder.write(rows(0).drop("kind").with_columns(pl.col("size").cast(pl.String)))
    before = folder.pin()
    other = Bench(Lake(url=f"{folder.lake.url}-other"), folder.store, folder.repository)
    other.write(rows(0).drop("likes"))
    found = folder.compare(before, other.pin())
    assert found.columns is not None
    assert found.columns.added == {"kind": "String"}
    assert found.columns.removed == {"likes": "Int64"}
    assert found.columns.retyped == {"size": ("String", "Int64")}
    assert not found.is_empty


def test_examples_are_limited_and_counts_are_not(folder: Bench) -> None:
    folder.write(rows(0), rows(1))
    before = folder.pin()
    folder.write(rows(0, size=[7, 8, 9]), rows(1, size=[7, 8, 9]))
    found = folder.compare(before, folder.pin(), examples=2)
    assert found.rows is not None
    (size,) = found.rows.columns
    assert (size.rows, len(size.examples)) == (6, 2)


def test_two_folders_are_compared_by_their_files_alone(folder: Bench) -> None:
    found = folder.compare(folder.pin({"a": b"a"}, asset=None), folder.pin({"a": b"b"}, asset=None))
    assert (found.rows, found.columns, found.drift) == (None, None, None)
    assert found.files.changed_paths == ["a"]


@pytest.mark.parametrize("other", [None, "notes"])
def test_a_table_compares_with_no_folder_and_no_other_asset(folder: Bench, other: str | None) -> None:
    folder.write(rows(0))
    with pytest.raises(NotComparable, match="old is pictures and new is"):
        folder.compare(folder.pin(), folder.pin(asset=other))


def test_a_table_that_one_of_them_does_not_pin_is_said(folder: Bench) -> None:
    folder.write(rows(0))
    with pytest.raises(NotComparable, match=r"pins no table notes. Tables that both pin: pictures"):
        folder.compare(folder.pin(), folder.pin(), asset="notes")


def test_a_table_without_its_key_is_not_comparable(folder: Bench) -> None:
    folder.write(rows(0).drop("name"))
    with pytest.raises(NotComparable, match="name is not in both"):
        folder.compare(folder.pin(), folder.pin())


def test_a_manifest_that_is_another_is_not_compared(folder: Bench) -> None:
    folder.write(rows(0))
    a, b = folder.pin({"a": b"a"}), folder.pin({"b": b"b"})
    named = b.reference.manifest.model_copy(update={"files": 2})
    broken = replace(b, reference=b.reference.model_copy(update={"manifest": named}))
    with pytest.raises(ManifestBroken, match="lists 1 files where its reference counts 2"):
        folder.compare(a, broken)


def test_the_code_between_two_pins_is_named_by_its_files(folder: Bench) -> None:
    folder.write(rows(0))
    before = folder.pin()
    (folder.repository.root / "model.py").write_text("x = 1\n")
    commit(folder.repository.root, "more")
    found = folder.compare(before, folder.pin())
    assert (found.code.commits, found.code.files) == (1, ["model.py"])
    unknown = before.reference.model_copy(update={"code": Code(commit="0" * 40, clean=True)})
    lost = folder.compare(replace(before, reference=unknown), folder.pin())
    assert lost.code.files is None
    assert "git fetch" in diff_text.told_code(lost.code)


def test_a_plot_says_from_where_to_where_it_goes_or_its_categories(folder: Bench) -> None:
    folder.write(rows(0))
    before = folder.pin()
    folder.write(rows(0, size=[1, 2, 5], kind=["cat", "dog", "dog"]))
    page = diff_page.page(folder.compare(before, folder.pin()))
    assert re.search(r'class="key">[\d.]+ to [\d.]+<', page)
    assert re.search(r'class="key">(cat, dog|dog, cat)<', page)


def test_what_data_say_is_text_in_the_page_and_in_the_terminal(folder: Bench) -> None:
    folder.write(rows(0))
    before = folder.pin()
    folder.write(rows(0, name=[EVIL, "b", "c"], kind=["cat", EVIL, "dog"]))
    found = folder.compare(before, folder.pin({EVIL: b"a"}))
    page = diff_page.page(found)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<svg" in page
    assert "http:" not in page and "https:" not in page
    console = Terminal(width=200, record=True)
    diff_text.print_comparison(found, console)
    assert EVIL in console.export_text()


def test_the_json_has_all_of_it_and_is_read_back(folder: Bench) -> None:
    folder.write(rows(0))
    before = folder.pin()
    folder.write(rows(0, size=[5, 2, 3]))
    found = folder.compare(before, folder.pin())
    assert Comparison.model_validate_json(found.model_dump_json()) == found
