"""The asset of suspects, through the framework: answers, photos and questions of a window of days."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.catalog import suspects as assets
from pipeline_assets.classify.schemas import PhotoClasses
from pipeline_assets.exploration.suspects.items import labels, with_facts
from pipeline_assets.framework.partitions import daily
from pipeline_assets.ingestion.schemas import RawUploads
from pipeline_assets.labeling.schemas import LabelConsensus, LabelTasks
from resources.database import ledger
from resources.database.contract import Database
from resources.lake.lake import Lake
from resources.lake.lake_io import LakeIO
from tests.exploration.labelled import DAY, changed, items, sha256

NIGHT = DAY + timedelta(days=3)
NOON = datetime(2026, 1, 4, tzinfo=UTC)
READS = ("label_consensus", "label_tasks", "raw_uploads", "photo_classes")


def filled(schema, rows: pl.DataFrame, **columns) -> pl.DataFrame:
    """Rows of a schema: columns of `rows`, and others; the rest is null."""
    have = rows.with_columns(**columns)
    types = schema.create_empty().schema
    return have.select(
        (pl.col(name) if name in have.columns else pl.lit(None)).cast(dtype).alias(name) for name, dtype in types.items()
    )


def tables(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables that tell of these items."""
    answer = pl.concat_str([pl.lit('{"choice":"'), "given", pl.lit('"}')])
    rows = rows.with_columns(day="photo_day", kind=pl.lit("class"), needs_adjudication=False)
    return {
        "label_consensus": filled(LabelConsensus, rows, answer_json=answer, answered_at=NOON, arrived_at=NOON),
        "label_tasks": filled(LabelTasks, rows, is_gold="is_settled"),
        "raw_uploads": filled(RawUploads, rows),
        "photo_classes": filled(PhotoClasses, rows),
    }


def read(rows: dict[str, pl.DataFrame], first: date = DAY, last: date = NIGHT) -> pl.DataFrame:
    lazy = {name: table.lazy() for name, table in rows.items()}
    found = labels(lazy["label_consensus"], first, last)
    return with_facts(found, *(lazy[name] for name in READS[1:]))


def test_answers_of_other_kinds_titles_disputes_and_days_are_left_out():
    written = tables(items(6))
    consensus = written["label_consensus"].with_row_index("number")
    at = pl.col("number")
    odd = consensus.with_columns(
        kind=pl.when(at == 0).then(pl.lit("boxes")).otherwise("kind"),
        target=pl.when(at == 1).then(pl.lit("title")).otherwise("target"),
        needs_adjudication=at == 2,
        answer_json=pl.when(at == 3).then(None).otherwise("answer_json"),
        day=pl.when(at == 4).then(date(2025, 1, 1)).otherwise("day"),
    ).drop("number")
    assert read(written | {"label_consensus": odd})["task_key"].to_list() == [sha256(5)]


def test_a_content_of_two_days_is_judged_once_and_what_is_gold_or_adjudicated_is_settled():
    written = tables(changed(items(3), 0, is_settled=True))
    consensus = written["label_consensus"]
    later = consensus.filter(task_key=sha256(1)).with_columns(
        day=DAY + timedelta(days=1), adjudicator=pl.lit("annotator-0"), answer_json=pl.lit('{"choice":"fox"}')
    )
    found = read(written | {"label_consensus": pl.concat([consensus, later])})
    told = {row[0]: row[1:] for row in found.select("task_key", "given", "is_settled").rows()}
    assert told == {sha256(0): ("cat", True), sha256(1): ("fox", True), sha256(2): ("fox", False)}


def test_a_label_without_photo_and_question_is_judged_by_what_is_known():
    written = tables(items(2))
    found = read(written | {name: written[name].clear() for name in READS[1:]})
    assert found["embedding"].null_count() == found.height == 2
    assert not found["is_settled"].any()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated")
def test_a_nights_suspects_are_a_table_and_a_night_without_labels_has_none(tmp_path: Path, database: Database) -> None:
    (tmp_path / "lake").mkdir()
    lake = Lake(url=(tmp_path / "lake").as_uri())
    early = DAY - timedelta(days=1)
    for name, table in tables(changed(items(), 3, given="dog")).items():
        version = lake.replace(name, [DAY], table)
        ledger.record(
            database, [ledger.Materialization(name, DAY, "0" * 32, table.height, 0, "1", "", {}, version, None, "test")]
        )
    for night in (early, NIGHT):
        done = dg.materialize(
            [assets.label_suspects, *(dg.AssetSpec(name, partitions_def=daily) for name in READS)],
            selection=["label_suspects"],
            partition_key=str(night),
            resources={"lake": lake, "io_manager": LakeIO(lake=lake), "database": database},
        )
        assert done.success
    found = lake.scan("label_suspects").collect()
    assert found.select("day", "photo_day", "task_key", "kind", "given", "suggested").rows() == [
        (NIGHT, DAY, sha256(3), "label_error", "dog", "cat")
    ]
