"""`darkroom explore near` and `darkroom explore duplicates` on a lake of folders."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import Result

from pipeline_assets.exploration.map import neighbours
from tests.exploration.map.map_world import FIRST, SCHEMA, MapWorld, after
from tests.in_process import invoke, outer_environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
]
NAMES = [f"{number:x}{'0' * 63}" for number in range(6)]
VECTORS = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
Darkroom = Callable[..., Result]


@pytest.fixture(scope="module")
def darkroom(tmp_path_factory: pytest.TempPathFactory) -> Darkroom:
    """The command, where six photos of two days are mapped; photo 0 was uploaded on both."""
    folder = tmp_path_factory.mktemp("near")
    world = MapWorld(folder)
    rows = [(name, vector.tolist(), "m", None) for name, vector in zip(NAMES, VECTORS, strict=True)]
    photos = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    world.bring(FIRST, photos[:4])
    world.bring(after(1), pl.concat([photos[4:], photos[:1]]))
    world.night(after(1))
    return command(folder)


def command(folder: Path) -> Darkroom:
    """`darkroom explore` on the world in a folder."""
    environment = outer_environment() | {
        "DARKROOM_HOME": str(folder / "home"),
        "DARKROOM_DATABASE_URL": f"sqlite:///{folder / 'darkroom.db'}",
        "DARKROOM_UPLOADS_URL": (folder / "uploads").as_uri(),
        "DARKROOM_LAKE_URL": (folder / "lake").as_uri(),
        "COLUMNS": "200",
    }
    return lambda *words: invoke(environment, "explore", *words, folder=folder)


def lines(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


@pytest.mark.parametrize("name", [NAMES[1], NAMES[1][:6], f"uploads/{FIRST}/1/1.jpg", "1"])
def test_the_nearest_are_those_of_all_days_and_a_photo_has_many_names(darkroom: Darkroom, name: str) -> None:
    vectors = neighbours.unit_vectors(VECTORS)
    similarity = neighbours.similarity(vectors, vectors[1])
    order = [number for number in np.argsort(-similarity) if number != 1]
    found = lines(darkroom("near", name, "-n", "5", "--format", "json"))
    assert list(dict.fromkeys(row["sha256"] for row in found)) == [NAMES[number] for number in order]
    assert len(found) == 6  # photo 0 has two uploads
    assert {row["class"] for row in found} == {"cat"}
    assert "5 of 6 contents of m, found in" in darkroom("near", name, "-n", "5").output


def test_contents_without_a_photo_take_no_place_whatever_lies_on_the_disk(tmp_path: Path) -> None:
    world = MapWorld(tmp_path)
    photos = pl.DataFrame(
        [(name, vector.tolist(), "m", None) for name, vector in zip(NAMES, VECTORS, strict=True)],
        schema=SCHEMA,
        orient="row",
    )
    world.bring(FIRST, photos)
    darkroom = command(tmp_path)
    words = ("near", NAMES[1], "-n", "2", "--format", "json")
    nearest = lines(darkroom(*words))[0]["sha256"]
    uploads = world.lake.scan("raw_uploads").collect()
    world.write("raw_uploads", FIRST, uploads.filter(pl.col("sha256") != nearest))
    found = lines(darkroom(*words))
    assert len(found) == 2
    assert nearest not in {row["sha256"] for row in found}
    assert "2 of 5 contents of m" in darkroom("near", NAMES[1], "-n", "2").output
    shutil.rmtree(tmp_path / "home" / "map")
    assert lines(darkroom(*words)) == found


def test_what_names_no_photo_and_what_is_no_image_are_refused_with_what_to_do(darkroom: Darkroom, tmp_path: Path) -> None:
    refused = darkroom("near", "no-such-photo")
    assert refused.exit_code == 2
    assert "give a photo id, an object key" in refused.output.replace("\n", " ")
    (tmp_path / "note.jpg").write_text("no image")
    unreadable = darkroom("near", str(tmp_path / "note.jpg"))
    assert unreadable.exit_code == 1
    assert "BadImage" in unreadable.output


def test_groups_of_duplicates_name_the_first_photo_and_a_condition_without_the_others(darkroom: Darkroom) -> None:
    [group] = lines(darkroom("duplicates", "--format", "json"))
    assert (group["keep"], group["photos"], group["contents"]) == (f"uploads/{FIRST}/1/0.jpg", 2, 1)
    assert [other["key"] for other in group["others"]] == [f"uploads/{after(1)}/1/2.jpg"]  # type: ignore[attr-defined]
    assert darkroom("duplicates", "--condition").output == "photo_id NOT IN (1002)\n"
    assert "1 groups in the night of 2026-01-04; 1 photos are not the first of theirs." in darkroom("duplicates").output
