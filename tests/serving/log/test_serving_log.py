"""The log of asks: lines to rows, their replay offline, and their quality once labels are there."""

import gzip
import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from pipeline_assets.features.user_features import FEATURES, user_features_as_of
from pipeline_assets.ingestion.schemas import EventLog, PhotoMetadata
from pipeline_assets.serving.log.quality import quality
from pipeline_assets.serving.log.replay import replayed
from pipeline_assets.serving.log.schemas import ServedQuality, ServingLog
from pipeline_assets.serving.log.segments import rows_of

DAY = date(2026, 3, 10)
T0 = datetime(2026, 3, 10, tzinfo=UTC)
MODEL = {"sha256": "a" * 64, "pin": "b" * 64, "night": "2026-03-09"}
ZEROS = {**dict.fromkeys(FEATURES, 0), "mean_popularity_30d": None}
JOINED = T0 - timedelta(days=50)
USERS = pl.DataFrame(
    {"user_id": [1], "joined_at": [JOINED]}, schema={"user_id": pl.Int64, "joined_at": pl.Datetime("us", "UTC")}
)
PHOTOS = PhotoMetadata.create_empty().lazy()


def line(number: int, **facts: object) -> dict[str, object]:
    moments = {
        "asked_at": T0 + timedelta(hours=number),
        "as_of": T0 + timedelta(hours=number),
        "t0": T0,
        "known_through": T0,
    }
    texts = {name: moment.isoformat() for name, moment in moments.items()}
    about = {"ask_id": f"{number:016x}", "request_id": "r", "route": "predict", "user_id": 1, "generation": 3}
    columns = {"title_length": 4, "has_location": True, "followers_at_post": None}
    told = {
        "popularity": 2.5,
        "low": 2.0,
        "high": 3.0,
        "sha256": "c" * 64,
        "model": MODEL,
        "columns": columns,
        "features": ZEROS,
    }
    return {**about, **texts, **told, **facts}


def segment(*lines: object) -> bytes:
    return gzip.compress(b"".join(json.dumps(one).encode() + b"\n" for one in lines))


def test_lines_become_rows_each_once() -> None:
    shadow = {**MODEL, "sha256": "d" * 64, "popularity": 1.5}
    rows, rejected = rows_of(DAY, [("k1", segment(line(2), line(1, shadow=shadow))), ("k2", segment(line(2)))])
    assert rejected.is_empty()
    assert ServingLog.validate(rows).height == 2
    assert rows["ask_id"].to_list() == [f"{n:016x}" for n in (1, 2)]
    assert rows["shadow_popularity"].to_list() == [1.5, None] and rows["title_length"].to_list() == [4, 4]
    features = {
        name: value
        for name, value in line(3, route="features", user_id=None).items()
        if name not in ("popularity", "low", "high", "sha256", "model", "columns")
    }
    assert ServingLog.validate(rows_of(DAY, [("k", segment(features))])[0])["model_sha256"].to_list() == [None]


BAD = {
    "no JSON": b"{",
    "no object": b"[]",
    "no id": json.dumps({**line(1), "ask_id": None}).encode().replace(b'"ask_id": null, ', b""),
    "text as a number": json.dumps(line(1, popularity="2")).encode(),
    "true as a number": json.dumps(line(1, user_id=True)).encode(),
    "another day": json.dumps(line(30)).encode(),
    "no features": json.dumps(line(1, features={})).encode(),
    "no UTF-8": b"\xff\xfe",
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_line_is_set_aside_and_its_neighbours_go_on(case: str) -> None:
    data = json.dumps(line(1)).encode() + b"\n" + BAD[case] + b"\n" + json.dumps(line(2)).encode() + b"\n"
    rows, rejected = rows_of(DAY, [("key", data)])
    assert rows.height == 2
    assert rejected.select("source", "reason").row(0) == ("key:2", "bad_line")


def test_a_damaged_segment_keeps_its_whole_lines() -> None:
    data = segment(*[line(n % 24, ask_id=f"{n:016x}", request_id=str(n)) for n in range(500)])
    rows, rejected = rows_of(DAY, [("key", data[: len(data) // 2])])
    assert 0 < rows.height < 500 and rejected["reason"].to_list() == ["damaged_gzip"]


def logins(*moments: tuple[datetime, datetime]) -> pl.LazyFrame:
    rows = [(arrived.date(), f"e{at}{arrived}", 1, None, "login", at, arrived, None) for at, arrived in moments]
    return pl.DataFrame(rows, schema=EventLog.create_empty().schema, orient="row").lazy()


def test_a_replay_tells_equal_from_behind_from_different() -> None:
    hour = timedelta(hours=1)
    events = logins((T0 - 5 * hour, T0 - 5 * hour), (T0 + hour, T0 + hour), (T0 + 2 * hour, T0 + 2 * hour))
    moments = pl.DataFrame(
        {"user_id": [1], "as_of": [T0 + 3 * hour], "joined_at": [JOINED]},
        schema_overrides={"as_of": pl.Datetime("us", "UTC"), "joined_at": pl.Datetime("us", "UTC")},
    )
    exact = user_features_as_of(moments.lazy(), events, PHOTOS).select(FEATURES).collect().row(0, named=True)
    assert exact["logins_1d"] == 3
    asks = [
        line(3, features=exact, ask_id="a" * 16),
        line(3, features={**exact, **dict.fromkeys(("logins_1d", "logins_7d", "logins_30d"), 1)}, ask_id="b" * 16),
        line(3, features={**exact, "posts_30d": 1}, ask_id="c" * 16),
        line(3, features={**exact, "logins_1d": 2}, ask_id="d" * 16),
        line(3, features=exact, ask_id="e" * 16, user_id=None),
        line(3, features=exact, ask_id="f" * 16, user_id=77),
    ]
    rows, _ = rows_of(DAY, [("k", segment(*asks))])
    outcomes = dict(replayed(rows, USERS, events, PHOTOS).iter_rows())
    assert outcomes == {"a" * 16: "equal", "b" * 16: "behind", "c" * 16: "different", "d" * 16: "different"}


def test_predictions_meet_the_labels_of_their_photos() -> None:
    def photo(n: int) -> str:
        return f"{n:064x}"

    shadow = {**MODEL, "sha256": "d" * 64, "popularity": 9.0}
    asks = [
        line(1, sha256=photo(1), popularity=1.0, low=0.0, high=2.0, shadow=shadow),
        line(2, sha256=photo(1), popularity=2.0, low=1.5, high=2.5),  # again: the last counts
        line(3, sha256=photo(2), popularity=4.0, low=3.5, high=4.5),
        line(4, sha256=photo(3), popularity=5.0, low=4.0, high=6.0),  # not mature
        line(5, sha256=photo(4), popularity=5.0),  # never posted
    ]
    rows, _ = rows_of(DAY, [("k", segment(*asks))])
    labels = pl.DataFrame(
        {
            "user_id": [1, 1, 1, 1, 2],
            "sha256": [photo(1), photo(1), photo(2), photo(3), photo(2)],
            "posted_at": [T0 + timedelta(hours=2), T0 - timedelta(days=1), T0, T0, T0],
            "popularity": pl.Series([2.0, 8.0, 3.0, None, 0.0], dtype=pl.Float32),
        },
        schema_overrides={"posted_at": pl.Datetime("us", "UTC")},
    )
    served, of_shadow = ServedQuality.validate(quality(rows, labels)).iter_rows(named=True)
    assert served == {
        "day": DAY, "model_sha256": "a" * 64, "is_shadow": False, "asks": 4, "labelled": 2, "r2": -1.0, "bias": 0.5,
        "mean_absolute_error": 0.5, "slope": 0.5, "coverage": 0.5,
    }  # fmt: skip
    assert (of_shadow["is_shadow"], of_shadow["labelled"], of_shadow["r2"], of_shadow["bias"], of_shadow["coverage"]) == (
        True,
        1,
        None,
        7.0,
        None,
    )
    assert quality(rows.clear(), labels).is_empty()
