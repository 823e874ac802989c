"""`darkroom variants` on a project without a server, after a run with variants to train on; and the page's own recipe."""

import hashlib
import io
import json
import re
import subprocess
from datetime import date
from itertools import islice
from pathlib import Path

import plain_project
import polars as pl
import pytest
from click.testing import Result
from PIL import Image

from pipeline_assets.sample.photos import sample_photos
from pipeline_assets.training.split import split_of
from pipeline_assets.variants.engine.preview import of_contents
from pipeline_assets.variants.engine.sources import SOURCES
from pipeline_assets.variants.engine.verification import LOST, NOT_ITS_ID, OTHER, SAME, UNMADE, verify
from pipeline_assets.variants.photos import KIND, catalogue, ready_made
from pipeline_assets.variants.recipes import Recipe, seed_of, variant_id
from resources.objects.store import ObjectStore, content_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PHOTOS = 24
POLICY = {"photos": {"children": 2, "share": 1.0}, "receipts": {"children": 0}}


class Project(plain_project.Project):
    """A project that a run has filled."""

    def variants(self, *words: str) -> Result:
        return self.invoke("variants", *words)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("project"), POLICY)
    (made.root / "photos").mkdir()
    small = (photo for photo in sample_photos() if re.search(r"-\d{4}\.jpg$", photo.name))
    for photo in islice(small, PHOTOS):
        (made.root / "photos" / photo.name).write_bytes(photo.data)
    done = made.command("run", "--photos", "photos", "--days", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def rows(project: Project, table: str) -> pl.DataFrame:
    return project.lake.scan(table).collect()


def test_variants_are_of_training_photos_alone_and_none_is_a_copy(project: Project) -> None:
    made = rows(project, "photo_variants")
    assert made.height > PHOTOS
    assert set(made["split"]) == {"train"}
    assert made["variant_id"].n_unique() == made.select("variant_id").unique().height
    assert not set(made["content_sha256"]) & set(made["parent_sha256"])
    uploads = rows(project, "raw_uploads")
    assert set(made["parent_sha256"]) <= set(uploads["sha256"])


def test_a_model_with_a_share_says_both_scores(project: Project) -> None:
    (model,) = rows(project, "popularity_model").to_dicts()
    added = rows(project, "training_variants")
    assert model["rows_variants"] == added.height > 0
    assert model["r2_without_variants"] is not None
    assert model["r2"] != model["r2_without_variants"]
    real = rows(project, "training_table")
    assert model["rows_train"] == real.filter(split="train").height + added.height
    assert model["rows_test"] == real.filter(split="test").height
    assert (added["photo_id"] < 0).all()


def test_everything_is_made_again_to_the_byte(project: Project) -> None:
    done = project.variants("verify", "--json")
    assert done.exit_code == 0, done.output
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {finding["verdict"] for finding in found} == {SAME}
    expected = sum(rows(project, table).height for table in ("photo_variants", "text_variants", "table_variants"))
    assert len(found) == expected


def test_a_pin_of_variants_is_checked_out_as_a_file_each_and_clean_up_leaves_them(project: Project, tmp_path: Path) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "empty"], cwd=project.root, check=True)
    for words in (
        ("pin", "augmented", "--asset", "photo_variants", "--allow-dirty"),
        ("gc", "--yes", "--grace", "0", "--forget", "variants/photos"),
        ("verify", "augmented"),
        ("checkout", "augmented", str(tmp_path / "there")),
    ):
        done = project.command(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    made = rows(project, "photo_variants")
    assert made["object_sha256"].n_unique() < made["content_sha256"].n_unique()
    files = [path for path in (tmp_path / "there" / "files").rglob("*") if path.is_file()]
    assert {path.stem for path in files} == set(made["content_sha256"])
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.stem for path in files)


def test_a_sample_is_as_large_as_asked(project: Project) -> None:
    done = project.variants("verify", "--kind", "photos", "--sample", "5")
    assert done.exit_code == 0, done.output
    assert re.search(r"photos\s+│\s+5\s+│\s+5\s+│\s+0", done.output)


def test_a_look_alike_of_another_split_on_another_day_takes_back_the_variants(project: Project) -> None:
    made = rows(project, "photo_variants").filter(pl.col("other_parent_sha256").is_null()).sort("day", "variant_id")
    day, parent = made.select("day", "parent_sha256").row(0)
    last = rows(project, "raw_uploads")["day"].max()
    assert isinstance(last, date) and last > day
    user = pl.DataFrame({"user_id": range(900_000, 900_200)}).filter(split_of(pl.col("user_id")) == "test")["user_id"][0]
    (key,) = rows(project, "raw_uploads").filter(pl.col("sha256") == parent, pl.col("day") == day)["key"]
    uploads = ObjectStore.open((project.root / "uploads").as_uri())
    smaller = io.BytesIO()
    Image.open(io.BytesIO(uploads.get(key))).save(smaller, "JPEG", quality=60)
    uploads.put(f"uploads/{last}/{user}/again.jpg", smaller.getvalue())

    done = project.command("run")
    assert done.returncode == 0, done.stdout + done.stderr
    done = project.command("refresh", "--asset", "photo_variants", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    now = rows(project, "photo_variants")
    assert parent not in set(now["parent_sha256"]) | set(now["other_parent_sha256"])
    others = made.filter(pl.col("day") == day, pl.col("parent_sha256") != parent)["variant_id"]
    assert set(others) & set(now["variant_id"])
    told = rows(project, "photo_variants_rejected").filter(pl.col("reason") == "family_in_two_splits")
    assert (day, key) in told.select("day", "source").rows()


def test_what_is_not_as_it_was_is_told(project: Project) -> None:
    source = SOURCES["photos"]
    uploads = ObjectStore.open((project.root / "uploads").as_uri())
    same, other, lost, cut, unmade, renamed = (
        rows(project, "photo_variants").filter(pl.col("other_parent_sha256").is_null()).to_dicts()[:6]
    )
    other["content_sha256"] = same["content_sha256"]
    lost["object_sha256"] = "0" * 64
    whole = project.objects.get(content_key(cut["object_sha256"]))
    cut["object_sha256"] = project.objects.put_if_absent(whole[: cut["object_offset"] + 1]).sha256
    recipe = Recipe.from_json(unmade["recipe_json"].replace('"version":1', '"version":99'))
    unmade |= {"recipe_json": recipe.json, "variant_id": variant_id((unmade["parent_sha256"],), recipe, unmade["seed"])}
    renamed["seed"] += 1
    chosen = [same, other, lost, cut, unmade, renamed]
    found = {one.variant_id: one.verdict for one in verify(source, project.lake, uploads, project.objects, chosen)}
    assert [found[row["variant_id"]] for row in chosen] == [SAME, OTHER, LOST, LOST, UNMADE, NOT_ITS_ID]


@pytest.mark.parametrize("kind", ["photos", "text", "tables"])
def test_a_contact_sheet_is_a_picture_and_keeps_nothing(project: Project, tmp_path: Path, kind: str) -> None:
    before = sum(1 for _ in project.objects.list())
    done = project.variants("preview", kind, "--items", "2", "--output", str(tmp_path / "sheet.png"))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert sum(1 for _ in project.objects.list()) == before


def test_real_pictures_can_be_seen_above_the_variants(project: Project, tmp_path: Path) -> None:
    one, other = sorted((project.root / "photos").iterdir())[:2]
    words = ("preview", "photos", str(one), "--recipe", "sepia", "--recipe", "vintage", "--output")
    sheets = []
    for name, more in (("alone.png", ()), ("beside.png", ("--beside", str(other)))):
        done = project.variants(*words, str(tmp_path / name), *more)
        assert done.exit_code == 0, done.output
        with Image.open(tmp_path / name) as sheet:
            sheets.append(sheet.convert("RGB"))
    alone, beside = sheets
    top = beside.height - alone.height
    assert top > 64
    assert beside.crop((0, top, alone.width, beside.height)).tobytes() == alone.tobytes()
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"none")
    done = project.variants(*words, str(tmp_path / "none.png"), "--beside", str(bad))
    assert done.exit_code == 1
    assert "--beside names a file that is not a picture" in done.output


def test_recipes_are_listed_with_their_parameters(project: Project) -> None:
    done = project.variants("recipes", "photos")
    assert done.exit_code == 0, done.output
    assert "sepia" in done.output
    assert "crop area=" in done.output


def test_the_pages_recipe_works(project: Project) -> None:
    """What docs/variants.md tells to write, carried out as it stands."""
    page = (ROOT / "docs" / "variants.md").read_text()
    operation, recipe = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    try:
        exec(operation, vars(catalogue))  # noqa: S102
        exec(recipe, vars(ready_made))  # noqa: S102
        data = next(photo.data for photo in sample_photos())
        sheet, told = of_contents("photos", [data], ["cold"], 0)
        assert told == []
        assert sheet is not None
        assert "cold" in KIND.recipes
    finally:
        ready_made.RECIPES.pop("cold", None)
        catalogue.PHOTOS._operations.pop("cold", None)


def test_another_seed_makes_other_variants(project: Project) -> None:
    row = rows(project, "photo_variants").filter(pl.col("other_parent_sha256").is_null()).row(0, named=True)
    recipe = Recipe.from_json(row["recipe_json"])
    assert seed_of((row["parent_sha256"],), recipe, 0, row["number"]) == row["seed"]
    assert seed_of((row["parent_sha256"],), recipe, 1, row["number"]) != row["seed"]
    assert row["day"] >= date(2026, 1, 1)


RAISED = """
import sys
from dataclasses import replace
from pipeline_assets.variants.photos.catalogue import PHOTOS
PHOTOS._operations["exposure"] = replace(PHOTOS["exposure"], version=PHOTOS["exposure"].version + 1)
from pipeline_assets.commands.main import main
main(sys.argv[1:])
"""


def test_an_operation_of_a_new_version_makes_what_it_made_out_of_date_and_only_that_anew(project: Project) -> None:
    def darkroom(*words: str) -> str:
        done = project.python(RAISED, *words)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.stdout

    tables = ("photo_variants", "text_variants", "table_variants", "speech_variants", "video_variants")
    told = json.loads(darkroom("status", "--json", *(word for table in tables for word in ("--asset", table))))
    reasons = {table: {one["reason"] for one in told["assets"][table]["not_current"]} for table in tables}
    # Videos have photos' looks.
    assert reasons == {table: {"code"} if table in ("photo_variants", "video_variants") else set() for table in tables}
    assert all("recipes of photos" in one["detail"] for one in told["assets"]["photo_variants"]["not_current"])

    before = rows(project, "photo_variants")
    darkroom("refresh", "--yes", "--asset", "photo_variants")
    after = rows(project, "photo_variants")
    touched = before.filter(pl.col("recipe_json").str.contains('"exposure"'))
    assert 0 < touched.height < before.height
    assert after.height == before.height
    assert set(before["variant_id"]) - set(after["variant_id"]) == set(touched["variant_id"])
    anew = after.filter(pl.col("recipe_json").str.contains('"exposure"'))
    assert set(anew["content_sha256"]).isdisjoint(touched["content_sha256"])
