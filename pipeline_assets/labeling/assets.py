"""The labeling asset: what the application's database has of annotations."""

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from pipeline_assets.labeling import annotations as judging
from pipeline_assets.labeling.schemas import Annotations
from pipeline_assets.partitions import SAME_DAY
from pipeline_assets.table_asset import RunOfDays, Table, table_asset
from pipeline_assets.variants import segments
from pipeline_assets.variants.photos import boxes
from pipeline_assets.variants.text import words
from pipeline_assets.versioning.code import Part
from resources.database import Database, Twin

_COLUMNS = "select day, key, target, {}, annotator, annotated_at from annotations where day between $1 and $2"
_CUT = judging.MAX_JSON_BYTES + 1
ANNOTATIONS_SQL = Twin(
    postgres=_COLUMNS.format(f"left(labels::text, {_CUT}) as labels_json"),
    sqlite=_COLUMNS.format(f'substr(labels, 1, {_CUT}) as "labels_json [text]"'),
)
BY_DAY_SQL = Twin(
    postgres="select day, count(*)::text || ' ' || sum(hashtextextended(a::text, 0)::numeric)::text as digest "
    "from annotations a where day between $1 and $2 group by day",
    sqlite="select day, count(*) || ' ' || hash_sum(json_array(key, target, labels, annotator, annotated_at)) as digest "
    "from annotations where day between $1 and $2 group by day",
)


def _changed(days: Sequence[date], postgres: Database) -> Mapping[date, str]:
    return dict(postgres.read(BY_DAY_SQL, (days[0], days[-1])).iter_rows())


@table_asset(
    schema=Annotations,
    group="labeling",
    inputs={"raw_uploads": SAME_DAY, "photo_metadata": SAME_DAY},
    sources=_changed,
    code=[judging, boxes, segments, words, Part("code", "annotations.sql", ANNOTATIONS_SQL.postgres)],
    quarantines=True,
    kinds={"postgres", "polars"},
    pool="postgres",
    automatic=True,
    lineage={"sha256": [("raw_uploads", "sha256"), ("photo_metadata", "title")]},
)
def annotations(run: RunOfDays, raw_uploads: pl.LazyFrame, photo_metadata: pl.LazyFrame, postgres: Database) -> Table:
    """What people or tools have marked in uploads and titles: boxes, segments, spans. Variants carry them on.

    Read from the application's table `annotations`, by the upload's day, and held against the bytes that were annotated: a
    box outside of its photo, a segment after the end, a span that is not the title's is kept aside in
    `annotations_rejected`, and so is what is of no upload.
    """
    told = postgres.read(ANNOTATIONS_SQL, (run.days[0], run.days[-1]))
    told = told.filter(pl.col("day").is_in(pl.Series(run.days, dtype=pl.Date).implode()))
    rows, rejected = judging.judged(told, raw_uploads, photo_metadata)
    return Table(rows, rejected=rejected)
