"""Writes a feature repository for Feast: `user_features` as Parquet, and definitions that stock Feast applies and serves.

What lives here: the files of the repository. Feast itself is not installed beside Darkroom; docs/interop.md says what its
snapshots lose.
"""

from pathlib import Path

import polars as pl

from pipeline_assets.errors import ExportRefused
from pipeline_assets.features.schemas import UserFeatures
from resources.files import replacing, write

DATA = "data/user_features.parquet"
SETTINGS = "feature_store.yaml"
DEFINITIONS = "features.py"
_TYPES = {pl.Int32(): "Int32", pl.Float32(): "Float32", pl.Int64(): "Int64", pl.Datetime("us", "UTC"): "UnixTimestamp"}

_SETTINGS = """\
# Written by `darkroom feast export`, and yours from then on: a later export replaces only data/.
project: darkroom
provider: local
registry: data/registry.db
online_store:
  type: sqlite
  path: data/online_store.db
offline_store:
  type: file
entity_key_serialization_version: 3
"""

_DEFINITIONS = '''\
"""Darkroom's user features as a Feast feature repository: written by `darkroom feast export`, and yours from then on.

feast apply
feast materialize-incremental $(date -u +%Y-%m-%dT%H:%M:%S)

A row counts what happened and arrived before its `as_of`, the end of a UTC day. Feast answers with the newest row, which may
be a day old: the counts of a moment between two rows are those of the earlier one. Only the age is computed for the moment
that is asked.
"""

from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureView, Field, FileSource, PushSource, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float32, Int32, UnixTimestamp
from feast.value_type import ValueType

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)

days = FileSource(name="user_features_days", path="{data}", timestamp_field="as_of")
pushed = PushSource(name="user_features_push", batch_source=days)

user_features = FeatureView(
    name="user_features",
    entities=[user],
    ttl=timedelta(hours=36),
    schema=[
{fields}
    ],
    source=pushed,
)

ask = RequestSource(name="ask", schema=[Field(name="asked_at", dtype=UnixTimestamp)])


@on_demand_feature_view(
    sources=[user_features[["joined_at"]], ask], schema=[Field(name="days_since_joining_now", dtype=Int32)], mode="pandas"
)
def user_age(rows: pd.DataFrame) -> pd.DataFrame:
    asked, joined = (pd.to_datetime(rows[name], utc=True) for name in ("asked_at", "joined_at"))
    days = (asked - joined).dt.days.clip(lower=0)
    return pd.DataFrame({{"days_since_joining_now": days.astype("Int32")}})
'''


def write_repository(folder: Path, features: pl.LazyFrame, users: pl.LazyFrame) -> int:
    """Write the repository, or replace the data of one. Returns the number of rows.

    features: of `UserFeatures`. users: user_id, joined_at. Definitions and settings that are there stay as they are. The
    data are replaced whole or not at all. Raises ExportRefused if the folder has other content.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / SETTINGS).exists():
        raise ExportRefused(
            f"{folder} is neither empty nor a Feast feature repository ({SETTINGS}): name a new folder, or that of a former "
            "export."
        )
    (folder / DATA).parent.mkdir(parents=True, exist_ok=True)
    rows = features.join(users, on="user_id", how="left").select("user_id", "as_of", *_names())
    with replacing(folder / DATA) as path:
        rows.sink_parquet(path)
        number = int(pl.scan_parquet(path).select(pl.len()).collect().item())
    for name, text in ((DEFINITIONS, definitions()), (SETTINGS, _SETTINGS)):
        if not (folder / name).exists():
            write(folder / name, text)
    return number


def definitions() -> str:
    """The Python file of the definitions."""
    types = {
        **{name: column.dtype for name, column in UserFeatures.columns().items()},
        "joined_at": pl.Datetime("us", "UTC"),
    }
    fields = [f'        Field(name="{name}", dtype={_TYPES[types[name]]}),' for name in _names()]
    return _DEFINITIONS.format(data=DATA, fields="\n".join(fields))


def _names() -> list[str]:
    return [name for name in UserFeatures.column_names() if name not in ("day", "user_id", "as_of")] + ["joined_at"]
