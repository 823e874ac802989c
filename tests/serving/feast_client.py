"""Runs in Feast's own environment, in the folder of a feature repository: applies, materializes, asks, pushes. Prints JSON."""

import json
import sys
from datetime import datetime, timedelta, timezone

import pandas as pd
from feast import FeatureStore
from feast.data_source import PushMode

UTC = timezone.utc  # noqa: UP017  its Python may be older
NAMES = ["logins_1d", "mean_popularity_30d", "likes_received_30d"]
FEATURES = [f"user_features:{name}" for name in NAMES]


def online(store: FeatureStore, asked_at: datetime) -> dict[str, list[object]]:
    rows = [{"user_id": user, "asked_at": asked_at} for user in (1, 2, 99)]
    found = store.get_online_features([*FEATURES, "user_age:days_since_joining_now"], entity_rows=rows)
    return found.to_dict()


def main() -> None:
    last = datetime.fromisoformat(sys.argv[1])
    store = FeatureStore(repo_path=".")
    store.materialize(last - timedelta(days=30), last)
    answers = {"online": online(store, last + timedelta(days=1, hours=1))}
    entities = pd.DataFrame(
        {
            "user_id": [1, 1, 1, 2],
            "event_timestamp": [last, last - timedelta(seconds=1), last + timedelta(hours=12), last - timedelta(days=9)],
            "asked_at": [last] * 4,
        }
    )
    history = store.get_historical_features(entity_df=entities, features=FEATURES).to_df()
    ordered = entities[["user_id", "event_timestamp"]].merge(history, on=["user_id", "event_timestamp"], how="left")
    answers["history"] = {name: [None if pd.isna(x) else x for x in ordered[name].tolist()] for name in NAMES}
    pushed = pd.read_parquet("data/user_features.parquet").query("user_id == 2").tail(1)
    pushed = pushed.assign(as_of=last + timedelta(hours=2), logins_1d=77)
    pushed["logins_1d"] = pushed["logins_1d"].astype("int32")
    store.push("user_features_push", pushed, to=PushMode.ONLINE)
    answers["pushed"] = online(store, last + timedelta(hours=2))
    older = pushed.assign(as_of=last - timedelta(days=20), logins_1d=5)
    older["logins_1d"] = older["logins_1d"].astype("int32")
    store.push("user_features_push", older, to=PushMode.ONLINE)
    answers["older"] = online(store, last)
    print(json.dumps(answers))


main()
