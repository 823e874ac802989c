"""The asset of pseudo-labels: labels of a window, the photos without, the gain; and through the framework."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.catalog import learning as assets
from pipeline_assets.classify.schemas import PhotoClasses
from pipeline_assets.exploration.learning import teaching
from pipeline_assets.exploration.learning.schemas import PseudoLabels
from pipeline_assets.framework.partitions import daily
from pipeline_assets.ingestion.schemas import RawUploads
from pipeline_assets.labeling.schemas import LabelConsensus
from resources.database import ledger
from resources.database.contract import Database
from resources.lake.lake import Lake
from resources.lake.lake_io import LakeIO
from resources.pseudo_labels import PseudoLabelPolicy
from tests.exploration.labelled import CLASSES, DAY, items, sha256

NIGHT = DAY + timedelta(days=3)
NOON = datetime(2026, 1, 4, tzinfo=UTC)
LABELLED = 45
READS = ("label_consensus", "photo_classes", "raw_uploads")


def filled(schema, rows: pl.DataFrame, **columns) -> pl.DataFrame:
    """Rows of a schema: columns of `rows`, and others; the rest is null."""
    have = rows.with_columns(**columns)
    types = schema.create_empty().schema
    return have.select(
        (pl.col(name) if name in have.columns else pl.lit(None)).cast(dtype).alias(name) for name, dtype in types.items()
    )


def tables(rows: pl.DataFrame, labelled: int = LABELLED) -> dict[str, pl.DataFrame]:
    """The tables that tell of these items, of which the first are labelled."""
    answer = pl.concat_str([pl.lit('{"choice":"'), "given", pl.lit('"}')])
    rows = rows.with_columns(day="photo_day", kind=pl.lit("class"), needs_adjudication=False)
    return {
        "label_consensus": filled(
            LabelConsensus, rows.head(labelled), answer_json=answer, answered_at=NOON, arrived_at=NOON
        ),
        "photo_classes": filled(PhotoClasses, rows),
        "raw_uploads": filled(RawUploads, rows),
    }


def night(written: dict[str, pl.DataFrame], *, may_be_taken: bool = False, day=NIGHT) -> pl.DataFrame:
    answers = teaching.agreed(written["label_consensus"].lazy())
    photos, uploads = written["photo_classes"].lazy(), written["raw_uploads"].lazy()
    return PseudoLabels.validate(teaching.night_rows(day, answers, photos, uploads, code="code", may_be_taken=may_be_taken))


def test_photos_without_a_label_get_that_of_their_cloud():
    rows = night(tables(items()))
    assert rows["sha256"].to_list() == sorted(sha256(number) for number in range(LABELLED, 150))
    truth = {sha256(number): CLASSES[number % 3] for number in range(150)}
    assert all(truth[key] == label for key, label in rows.select("sha256", "label").rows())
    assert rows.select("day", "photo_day", "labels", "campaign").unique().rows() == [(NIGHT, DAY, LABELLED, "subject")]


def test_a_gain_that_may_be_none_is_taken_by_no_policy():
    for may_be_taken in (False, True):
        rows = night(tables(items()), may_be_taken=may_be_taken)
        assert (rows["gain_low"] <= 0).all()
        assert not rows["is_taken"].any()


@pytest.mark.parametrize("may_be_taken", [False, True])
def test_a_sure_gain_is_taken_if_the_policy_allows(monkeypatch, may_be_taken):
    monkeypatch.setattr(teaching.pseudo, "measured_gain", lambda *_: teaching.pseudo.paired(9, 0, 45))
    assert night(tables(items()), may_be_taken=may_be_taken)["is_taken"].all() == may_be_taken


def test_too_few_labels_or_one_class_or_no_photo_to_label_give_no_row():
    for labelled in (1, 2, 19):
        assert night(tables(items(), labelled=labelled)).is_empty()
    assert night(tables(items(classes=("cat",)))).is_empty()
    assert night(tables(items(LABELLED))).is_empty()
    assert night(tables(items()), day=DAY + timedelta(days=30)).is_empty()
    written = tables(items())
    assert night(written | {"photo_classes": written["photo_classes"].clear()}).is_empty()


def test_labels_of_which_those_with_an_embedding_are_of_one_class_give_no_row():
    written = tables(items())
    is_cat = pl.col("given") == "cat"
    for bad in ([], [0.0] * 24, [None] * 24, [float("inf")] * 24):
        photos = items().with_columns(
            day="photo_day",
            embedding=pl.when(is_cat).then("embedding").otherwise(pl.lit(bad, pl.List(pl.Float32))),
        )
        assert night(written | {"photo_classes": filled(PhotoClasses, photos)}).is_empty()


def test_labels_of_one_family_have_no_gain_and_are_not_taken():
    rows = night(tables(items().with_columns(phash=pl.lit("f0e1d2c3b4a59687"))), may_be_taken=True)
    assert rows["gain"].null_count() == rows.height == 150 - LABELLED
    assert not rows["is_taken"].any()


def test_photos_that_look_the_same_to_the_classifier_are_one_family_whatever_their_hashes():
    same = pl.lit([1.0] * 23 + [2.0], pl.List(pl.Float32))
    is_labelled = pl.col("sha256").is_in([sha256(number) for number in range(LABELLED)])
    photos = items().with_columns(
        day="photo_day",
        embedding=pl.when(is_labelled).then(same).otherwise("embedding"),
        phash=pl.col("sha256").str.head(16),
    )
    written = tables(items()) | {"photo_classes": filled(PhotoClasses, photos), "raw_uploads": filled(RawUploads, photos)}
    rows = night(written, may_be_taken=True)
    assert rows["gain"].null_count() == rows.height


def test_a_photo_that_is_no_upload_any_more_neither_teaches_nor_gets_a_label():
    written = tables(items())
    erased = written["raw_uploads"].filter(~pl.col("sha256").is_in([sha256(0), sha256(149)]))
    rows = night(written | {"raw_uploads": erased})
    assert sha256(149) not in rows["sha256"]
    assert rows["labels"].unique().to_list() == [LABELLED - 1]


@pytest.mark.parametrize("bad", [[], [1.0], [1.0] * 25, [0.0] * 24, [None, *[1.0] * 23], None])
@pytest.mark.parametrize("number", [0, 149])
def test_an_embedding_without_a_direction_or_of_another_width_breaks_no_other(bad, number):
    written = tables(items())
    is_bad = pl.col("sha256") == sha256(number)
    odd = written["photo_classes"].with_columns(
        embedding=pl.when(is_bad).then(pl.lit(bad, pl.List(pl.Float32))).otherwise("embedding")
    )
    rows = night(written | {"photo_classes": odd})
    assert rows.height == 150 - LABELLED - (number == 149)
    assert rows["labels"].unique().to_list() == [LABELLED - (number == 0)]
    assert sha256(number) not in rows["sha256"]


def test_order_of_rows_changes_nothing_and_another_label_is_another_teacher():
    written = tables(items())
    base = night(written)
    assert night({name: table.reverse() for name, table in written.items()}).equals(base)
    fewer = night(written | {"label_consensus": written["label_consensus"].tail(40)})
    assert fewer["teacher"][0] != base["teacher"][0]


def test_embeddings_of_another_model_or_that_are_not_finite_and_contradicting_labels_are_left_out():
    written = tables(items())
    photos = written["photo_classes"].with_row_index("number")
    last, before = pl.col("number") == 149, pl.col("number") == 148
    odd = photos.with_columns(
        model_id=pl.when(last).then(pl.lit("a model")).otherwise("model_id"),
        embedding=pl.when(before).then(pl.lit([float("nan")] * 24, pl.List(pl.Float32))).otherwise("embedding"),
    ).drop("number")
    consensus = written["label_consensus"]
    again = consensus.head(1).with_columns(day=DAY + timedelta(days=1), answer_json=pl.lit('{"choice":"fox"}'))
    rows = night(written | {"photo_classes": odd, "label_consensus": pl.concat([consensus, again])})
    assert rows.height == 150 - LABELLED - 2
    assert rows["labels"].unique().to_list() == [LABELLED - 1]
    assert sha256(0) not in rows["sha256"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated")
def test_a_night_has_pseudo_labels_and_a_night_without_labels_has_none(tmp_path: Path, database: Database) -> None:
    (tmp_path / "lake").mkdir()
    lake = Lake(url=(tmp_path / "lake").as_uri())
    for name, table in tables(items()).items():
        version = lake.replace(name, [DAY], table)
        ledger.record(
            database, [ledger.Materialization(name, DAY, "0" * 32, table.height, 0, "1", "", {}, version, None, "test")]
        )
    for day in (DAY - timedelta(days=1), NIGHT):
        done = dg.materialize(
            [assets.pseudo_labels, *(dg.AssetSpec(name, partitions_def=daily) for name in READS)],
            selection=["pseudo_labels"],
            partition_key=str(day),
            resources={
                "lake": lake,
                "io_manager": LakeIO(lake=lake),
                "database": database,
                "pseudo_label_policy": PseudoLabelPolicy(),
            },
        )
        assert done.success
    found = lake.scan("pseudo_labels").collect()
    assert found["day"].unique().to_list() == [NIGHT]
    assert found.height == 150 - LABELLED
