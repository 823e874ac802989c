"""The same by Feast's `get_historical_features` on the snapshots. Run in its environment.

python -m benchmarks.rivals.historical_feast file|duckdb FOLDER
"""

import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float32, Int32
from feast.value_type import ValueType

from benchmarks.rivals.reported import reported


def main() -> None:
    """Register the snapshots, ask, and write the features in the order of the asks."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    store = FeatureStore(
        config=RepoConfig(
            project="darkroom",
            provider="local",
            registry=str(folder / f"{kind}-registry.db"),
            online_store={"type": "sqlite", "path": str(folder / f"{kind}-online.db")},
            offline_store={"type": kind},
            entity_key_serialization_version=3,
        )
    )
    path = folder / "snapshots.parquet"
    columns = pd.read_parquet(path)
    names = [name for name in columns.columns if name not in ("user_id", "as_of")]
    del columns
    view = FeatureView(
        name="user_features",
        entities=[user := Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)],
        ttl=timedelta(days=365),
        schema=[Field(name=name, dtype=Float32 if name.startswith("mean") else Int32) for name in names],
        source=FileSource(path=str(path), timestamp_field="as_of"),
    )
    store.apply([user, view])

    def work() -> None:
        asks = pd.read_parquet(folder / "asks.parquet", columns=["row", "user_id", "as_of"])
        asks = asks.rename(columns={"as_of": "event_timestamp"})
        features = [f"user_features:{name}" for name in names]
        found = store.get_historical_features(entity_df=asks, features=features).to_df()
        found.sort_values("row")[names].to_parquet(folder / f"{kind}.parquet")

    reported(work)


main()
