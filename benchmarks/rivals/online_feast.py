"""Feast's online read of one user from Redis: CPU, median, 99th percentile in microseconds. Run in its environment."""

import json
import random
import statistics
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float32, Int32
from feast.value_type import ValueType

NAMES = ["logins_1d", "logins_7d", "logins_30d", "posts_30d", "likes_given_30d", "likes_received_30d"]


def main() -> None:
    """Fill, ask, print JSON."""
    address, users, reads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        at = datetime.now(timezone.utc) - timedelta(hours=1)  # noqa: UP017  its Python may be older
        rows = pd.DataFrame({"user_id": range(users), "as_of": at})
        for name in NAMES:
            rows[name] = pd.Series([generator.randrange(100) for _ in range(users)], dtype="int32")
        rows["mean_popularity_30d"] = pd.Series([generator.random() for _ in range(users)], dtype="float32")
        path = Path(folder) / "rows.parquet"
        rows.to_parquet(path)
        store = FeatureStore(
            config=RepoConfig(
                project="darkroom",
                provider="local",
                registry=f"{folder}/registry.db",
                online_store={"type": "redis", "connection_string": address},
                entity_key_serialization_version=3,
            )
        )
        user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
        view = FeatureView(
            name="user_features",
            entities=[user],
            ttl=timedelta(days=2),
            schema=[*(Field(name=name, dtype=Int32) for name in NAMES), Field(name="mean_popularity_30d", dtype=Float32)],
            source=FileSource(path=str(path), timestamp_field="as_of"),
        )
        store.apply([user, view])
        store.write_to_online_store("user_features", rows)
        features = [f"user_features:{name}" for name in (*NAMES, "mean_popularity_30d")]
        asked = [generator.randrange(users) for _ in range(reads + 100)]
        for one in asked[:100]:
            store.get_online_features(features, entity_rows=[{"user_id": one}]).to_dict()
        times, began = [], time.process_time()
        for one in asked[100:]:
            start = time.perf_counter_ns()
            answer = store.get_online_features(features, entity_rows=[{"user_id": one}]).to_dict()
            times.append((time.perf_counter_ns() - start) / 1000)
        assert answer["logins_1d"][0] is not None
        cpu_us = (time.process_time() - began) / reads * 1e6
    cuts = statistics.quantiles(times, n=100)
    print(json.dumps({"read_us": cpu_us, "p50_us": cuts[49], "p99_us": cuts[98]}))


main()
