"""A variant is held against the uploads of other splits by its own look, not by its parent's alone."""

import hashlib
import logging
from collections.abc import Callable
from datetime import date

import polars as pl
import pytest
from photo_parents import encoded, textured
from PIL import ImageOps

from pipeline_assets.framework.declaration import RunOfDays
from pipeline_assets.ingestion.media.inspection import inspect
from pipeline_assets.variants.engine.making import variants_of
from pipeline_assets.variants.engine.sources import SOURCES, fetch_from
from pipeline_assets.variants.families import NO_OTHERS
from resources.database.contract import Database
from resources.objects.results import Results
from resources.objects.store import ObjectStore
from resources.variant_policy import KindPolicy

DAY = date(2026, 3, 1)
PHOTO = textured(3, 96, 96)
MIRRORED = ImageOps.mirror(PHOTO)


def item(data: bytes, source: str, split: str) -> dict[str, object]:
    return {
        "day": DAY,
        "sha256": hashlib.sha256(data).hexdigest(),
        "source": source,
        "split": split,
        "labels_json": "{}",
        "phash": inspect(data, "photo").phash,
        "data": data,
    }


def made(results: Results, *, neighbour: bytes | None, in_uploads: bool) -> pl.DataFrame:
    """What flips of the photo become. neighbour: what a user of the test split has, on the same day or on any other."""
    mine = item(encoded(PHOTO), "photo", "train")
    theirs = [] if neighbour is None else [item(neighbour, "neighbour", "test")]
    types = {"phash": pl.String, "data": pl.Binary}
    parents = pl.DataFrame([mine, *([] if in_uploads else theirs)], schema_overrides=types)
    others = pl.DataFrame(theirs).select(NO_OTHERS.columns) if in_uploads and theirs else NO_OTHERS
    run = RunOfDays("photo_variants", (DAY,), "code", "run", logging.getLogger("test"))
    source, policy = SOURCES["photos"], KindPolicy(children=1, recipes=["flip"], splits=["train"])
    table = variants_of(
        run, source.kind, source.schema, parents, fetch_from(parents, results.store), results, policy, 0, others
    )
    assert isinstance(table.rows, pl.DataFrame)
    assert table.rejected is not None
    told = table.rejected.select("source", "reason")
    return pl.concat([table.rows.select("source", reason=pl.lit("made")), told])


@pytest.fixture
def results(database: Database, object_store: Callable[[str], ObjectStore]) -> Results:
    return Results(database, object_store("folder"))


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("in_uploads", [False, True], ids=["the same day", "another day"])
def test_a_flip_that_equals_the_photo_of_another_splits_user_is_rejected(results: Results, in_uploads: bool) -> None:
    for neighbour in (encoded(MIRRORED), encoded(MIRRORED, "JPEG", quality=80)):
        found = made(results, neighbour=neighbour, in_uploads=in_uploads)
        assert found.rows() == [("photo #0", "look_alike_in_another_split")]
    assert made(results, neighbour=None, in_uploads=in_uploads).rows() == [("photo", "made")]
    assert made(results, neighbour=encoded(textured(4)), in_uploads=in_uploads).rows() == [("photo", "made")]
