"""Drift: no alarm where nothing changed, an alarm where something did, and a reason where nothing can be said."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from pipeline_assets.exploration.profiles.columns import Column, Kind
from pipeline_assets.exploration.profiles.day_tests import bins_test, share_test
from pipeline_assets.exploration.profiles.drift import drift, population_stability
from pipeline_assets.exploration.profiles.profile import profiles
from pipeline_assets.exploration.profiles.schemas import Drift
from pipeline_assets.exploration.several_tests import holm

FIRST, REFERENCE = date(2026, 2, 1), 10
TODAY = FIRST + timedelta(REFERENCE)
KINDS: dict[str, Kind] = {
    "x": "number",
    "count": "number",
    "look": "category",
    "embedding": "embedding",
    "photo_id": "identifier",
}

Frames = list[pl.DataFrame]


def rows(generator: np.random.Generator, count: int = 300) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "x": generator.standard_normal(count),
            "count": generator.poisson(2, count),
            "look": generator.choice(["a", "b", "c", "d"], count, p=[0.5, 0.3, 0.15, 0.05]),
            "embedding": pl.Series(generator.standard_normal((count, 8)) + 0.5).cast(pl.List(pl.Float64)),
            "photo_id": np.arange(count),
        }
    )


def days(seed: int = 0, count: int = 300) -> Frames:
    """The days of a reference and one more, all alike."""
    generator = np.random.default_rng(seed)
    return [rows(generator, count) for _ in range(REFERENCE + 1)]


def profiled(frames: Frames, kinds: dict[str, Kind] = KINDS, labels: tuple[str, ...] = ()) -> pl.DataFrame:
    dated = [frame.with_columns(day=FIRST + timedelta(number)) for number, frame in enumerate(frames)]
    columns = [Column(name, dated[0].schema[name], kind, name in labels) for name, kind in kinds.items()]
    digests = {FIRST + timedelta(number): "digest" for number in range(len(frames))}
    return profiles(pl.concat(dated).lazy(), "photos", columns, digests)


def of(found: pl.DataFrame, column: str) -> dict[str, object]:
    return found.filter(column=column).row(0, named=True)


def test_holm_worked_by_hand() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.5])).tolist() == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []


def test_the_index_of_equal_shares_is_0_and_of_a_moved_share_what_its_formula_says() -> None:
    assert population_stability(np.array([50.0, 50.0]), np.array([5000.0, 5000.0])) == pytest.approx(0.0, abs=1e-12)
    now, before = 60.5 / 101, 0.5
    expected = (now - before) * np.log(now / before) + (before - now) * np.log((1 - now) / (1 - before))
    assert population_stability(np.array([60.0, 40.0]), np.array([1e6, 1e6])) == pytest.approx(expected, rel=1e-3)
    assert population_stability(np.array([60.0]), np.array([1e6])) is None


def alarms_in_40_days(frames: Frames) -> int:
    """Days with an alarm in 40 days after the reference; the expected number is at most 2."""
    asked = [TODAY + timedelta(number) for number in range(40)]
    found = drift(profiled(frames), asked, REFERENCE)
    Drift.validate(found)
    assert found["p_value"].count() == 40 * 4
    return found.filter("is_alarm")["day"].n_unique()


@pytest.mark.slow
def test_days_that_are_alike_raise_hardly_an_alarm() -> None:
    generator = np.random.default_rng(0)
    assert alarms_in_40_days([rows(generator) for _ in range(REFERENCE + 40)]) <= 2


@pytest.mark.slow
def test_days_that_differ_by_users_bursts_raise_hardly_an_alarm_though_their_rows_differ() -> None:
    """Each day has 60 users, whose rows are all alike: the rows of two days are never from one distribution."""
    generator = np.random.default_rng(1)
    frames = []
    for _ in range(REFERENCE + 40):
        times = generator.multinomial(300, generator.dirichlet(np.full(60, 0.5)))
        frames.append(rows(generator, 60)[np.repeat(np.arange(60), times)])
    assert alarms_in_40_days(frames) <= 3
    assert drift(profiled(frames), [TODAY], REFERENCE).filter(column="x")["dispersion"].item() > 3


PLANTED: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "mean": (lambda day: day.with_columns(x=pl.col("x") + 0.8), "x"),
    "scale": (lambda day: day.with_columns(x=pl.col("x") * 2.5), "x"),
    "counts": (lambda day: day.with_columns(count=pl.col("count") + 1), "count"),
    "category": (lambda day: day.with_columns(look=pl.when(pl.int_range(pl.len()) % 10 == 0).then(pl.lit("new")).otherwise("look")), "look"),
    "nulls": (lambda day: day.with_columns(x=pl.when(pl.int_range(pl.len()) % 4 > 0).then("x")), "x"),
    "not a number": (lambda day: day.with_columns(x=pl.when(pl.int_range(pl.len()) % 4 > 0).then("x").otherwise(float("nan"))), "x"),
    "all null": (lambda day: day.with_columns(x=pl.lit(None, pl.Float64)), "x"),
    "one value": (lambda day: day.with_columns(x=pl.lit(0.0)), "x"),
    "embedding": (lambda day: day.with_columns(embedding=pl.col("embedding").list.eval(-pl.element())), "embedding"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_change_is_found_on_its_day_and_in_its_column_alone(name: str) -> None:
    change, column = PLANTED[name]
    frames = days()
    found = drift(profiled([*frames[:-1], change(frames[-1])]), [TODAY], REFERENCE)
    assert found.filter("is_alarm")["column"].to_list() == [column]
    assert of(found, column)["change"]


def test_what_changed_is_said_in_words() -> None:
    frames = days()
    changed = PLANTED["category"][0](PLANTED["nulls"][0](frames[-1]))
    found = drift(profiled([*frames[:-1], changed]), [TODAY], REFERENCE)
    assert of(found, "x")["change"] == "nulls 25.0%, were 0.0%"
    assert str(of(found, "look")["change"]).startswith("new: 10.0%, was 0.0% (new)")


def test_a_column_that_is_another_every_day_is_no_alarm() -> None:
    frames = [frame.with_columns(count=pl.lit(number % 7)) for number, frame in enumerate(days())]
    assert not of(drift(profiled(frames), [TODAY], REFERENCE), "count")["is_alarm"]


def test_a_significant_difference_that_is_small_is_no_alarm() -> None:
    generator = np.random.default_rng(0)
    frames = [pl.DataFrame({"x": generator.standard_normal(20_000)}) for _ in range(REFERENCE + 1)]
    frames[-1] = frames[-1] + 0.06
    found = of(drift(profiled(frames, {"x": "number"}), [TODAY], REFERENCE), "x")
    assert found["p_adjusted"] < 0.001
    assert not found["is_alarm"]


def test_an_unknown_label_is_no_drift_of_nulls() -> None:
    frames = days()
    frames[-1] = PLANTED["all null"][0](frames[-1])
    found = of(drift(profiled(frames, labels=("x",)), [TODAY], REFERENCE), "x")
    assert (found["is_alarm"], found["p_value"]) == (False, None)
    assert found["reason"] == "fewer than 30 values"


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (days(count=29), "fewer than 30 rows"),
        (days()[-5:], "fewer than 5 days of the reference have 30 rows"),
        ([frame.clear() for frame in days()], "fewer than 30 rows"),
    ],
    ids=["a tiny day", "few days", "empty days"],
)
def test_what_can_not_be_compared_says_why(frames: Frames, reason: str) -> None:
    found = drift(profiled(frames), [FIRST + timedelta(len(frames) - 1)], REFERENCE)
    assert set(found["reason"]) == {reason}
    assert not found["is_alarm"].any()
    assert found["p_value"].count() == 0


def test_days_without_a_profile_have_no_drift() -> None:
    assert drift(profiled(days()), [TODAY + timedelta(1)], REFERENCE).is_empty()
    assert drift(profiled(days())[:0], [TODAY], REFERENCE).is_empty()


def test_a_day_is_compared_with_the_days_of_its_window_alone() -> None:
    frames = days()
    far = profiled([PLANTED["mean"][0](frame) for frame in frames[:5]] + frames[5:])
    assert of(drift(far, [TODAY], 5), "x")["reference_days"] == 5
    assert of(drift(far, [TODAY], REFERENCE), "x")["reference_days"] == REFERENCE


def test_days_in_one_run_are_compared_as_each_alone() -> None:
    table = profiled(days())
    asked = [TODAY - timedelta(2), TODAY - timedelta(1), TODAY]
    together = drift(table, asked, REFERENCE).sort("day", "column")
    alone = pl.concat([drift(table, [day], REFERENCE) for day in asked]).sort("day", "column")
    assert together.equals(alone)


def test_a_column_whose_type_changed_is_not_compared_with_days_before() -> None:
    table = profiled(days())
    changed = table.with_columns(
        kind=pl.when((pl.col("column") == "count") & (pl.col("day") < TODAY)).then(pl.lit("text")).otherwise("kind")
    )
    found = of(drift(changed, [TODAY], REFERENCE), "count")
    assert found["reason"] == "fewer than 5 days of the reference have 30 values"


def test_embeddings_of_another_model_are_an_alarm() -> None:
    frames = days()
    longer = [pl.Series(np.random.default_rng(9).standard_normal((300, 16)) + 0.5).cast(pl.List(pl.Float64))]
    frames[-1] = frames[-1].with_columns(longer[0].alias("embedding"))
    assert of(drift(profiled(frames), [TODAY], REFERENCE), "embedding")["is_alarm"]


def test_a_million_rare_values_are_compared_by_nothing_and_break_nothing() -> None:
    generator = np.random.default_rng(0)
    frames = [pl.DataFrame({"look": generator.integers(0, 10**9, 2000).astype(str)}) for _ in range(REFERENCE + 1)]
    found = of(drift(profiled(frames, {"look": "category"}), [TODAY], REFERENCE), "look")
    assert found["reason"] == "nothing to test: all values alike, or each of them rare"


def test_p_values_of_days_that_are_alike_are_spread_evenly() -> None:
    """A valid p-value is below 0.05 on at most a twentieth of the days: here 1,000, within three deviations."""
    generator = np.random.default_rng(0)
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    found = [
        bins_test(generator.multinomial(200, shares).astype(float), generator.multinomial(200, shares, 12).astype(float))
        for _ in range(1000)
    ]
    low = np.mean([test is not None and test.p_value <= 0.05 for test in found])
    assert 0.01 < low < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_the_share_test_is_exact_where_the_reference_has_none() -> None:
    reference = np.array([[0.0, 100.0]] * 10)
    one, many = share_test((1, 99), reference), share_test((30, 70), reference)
    assert one is not None
    assert many is not None
    assert one.p_value > 0.05 > 0.001 > many.p_value
    assert share_test((0, 100), reference) is None
