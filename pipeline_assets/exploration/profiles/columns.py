"""Which columns of which tables are profiled, and what of each is kept. What is not named here shows no value.

The one place that decides what may be seen of a column: texts show their values only if they are in `SHOWN`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import dataframely as dy
import polars as pl

from pipeline_assets.classify.schemas import PhotoClasses, PhotoStyles
from pipeline_assets.features.schemas import UserFeatures
from pipeline_assets.ingestion.schemas import EventLog, PhotoMetadata, RawUploads
from pipeline_assets.labeling.schemas import Annotations
from pipeline_assets.training.schemas import TrainingTable

Kind = Literal["number", "time", "category", "text", "list", "embedding", "identifier", "private"]
"""What is kept of a column, beside its rows and nulls.

number: moments and a histogram; time: the same in seconds since the day's start; category: its values with their rows;
text, list: a histogram of lengths; embedding: moments of random features, and a histogram of norms; identifier: how many
differ; private: nothing else.
"""

TABLES: dict[str, type[dy.Schema]] = {
    "raw_uploads": RawUploads,
    "photo_metadata": PhotoMetadata,
    "event_log": EventLog,
    "annotations": Annotations,
    "photo_classes": PhotoClasses,
    "photo_styles": PhotoStyles,
    "user_features": UserFeatures,
    "training_table": TrainingTable,
}
"""What people see and models learn from. Tables of variants, pins and models describe themselves."""

SHOWN = frozenset(
    (
        *("media_type", "mode", "verdict", "kind", "target"),
        *("styles_id", "model_id", "look", "look_model_id", "top_class", "split"),
    )
)
"""Columns of texts that are names of ours, of formats or of models, by name: nobody types them, so they are no one's."""

EMBEDDINGS = frozenset({("photo_classes", "embedding")})
"""Lists that are read in full. Other bulk columns are left out: `training_table` has the same embeddings again."""


@dataclass(frozen=True)
class Column:
    """A column that is profiled. is_label: its nulls are labels that are not known yet."""

    name: str
    dtype: pl.DataType
    kind: Kind
    is_label: bool = False


def of_table(table: str, schema: type[dy.Schema]) -> list[Column]:
    """The columns of a table that are profiled, in order of declaration."""
    return [
        Column(name, column.dtype, kind_of(table, name, column), bool((column.metadata or {}).get("label")))
        for name, column in schema.columns().items()
        if name != "day" and not ((column.metadata or {}).get("bulk") and (table, name) not in EMBEDDINGS)
    ]


def decided(tables: Mapping[str, type[dy.Schema]] = TABLES) -> str:
    """What is kept of each column, as a part of the code version: a column that becomes private makes profiles stale."""
    return str([(table, of_table(table, schema)) for table, schema in tables.items()])


def kind_of(table: str, name: str, column: dy.Column) -> Kind:
    """What is kept of a column. Unknown types are private."""
    dtype = column.dtype
    if "personal" in (column.description or ""):
        return "private"
    if (table, name) in EMBEDDINGS:
        return "embedding"
    if dtype.is_numeric():
        return "identifier" if name.endswith("_id") else "number"
    if dtype == pl.String:
        return "category" if name in SHOWN else "text"
    simple: Mapping[type, Kind] = {pl.Boolean: "category", pl.List: "list", pl.Datetime: "time", pl.Date: "time"}
    return simple.get(dtype.base_type(), "private")
