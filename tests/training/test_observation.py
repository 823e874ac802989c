"""Up to when a photo is observed: an unbroken run of complete days from its posting on, and nothing beyond the clock."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from pipeline_assets.ingestion.logs.log_days import NO_LOG, UNFINISHED, complete_days, end_of
from pipeline_assets.training.observation import DAYS_AFTER, DAYS_BEFORE, Observation

DAY = timedelta(days=1)
D0 = date(2025, 3, 1)


def start(number: int) -> datetime:
    return datetime(2025, 3, 1, tzinfo=UTC) + number * DAY


def of(*numbers: int) -> Observation:
    return Observation.of(D0 + number * DAY for number in numbers)


def test_a_photo_is_observed_to_the_end_of_the_last_day_of_an_unbroken_run():
    assert of(-3, 0, 1, 2, 4, 5).until(D0) == start(3)


def test_a_photo_whose_own_day_has_no_complete_log_is_not_observed():
    assert of(-1, 1, 2, 3, 4, 5, 6, 7, 8).until(D0) == start(0)
    assert of().until(D0) == start(0)


def test_days_after_the_label_is_final_change_nothing():
    assert of(*range(9)).until(D0) == of(*range(40)).until(D0) == start(9)


def test_rows_are_those_posted_by_the_last_complete_day_of_the_log():
    assert of(-30, 0).rows_until(D0) == start(1)
    assert of(-30).rows_until(D0) == start(-29)
    assert of(0, 3).rows_until(D0) == start(4)


@pytest.mark.parametrize("elsewhere", [(), (-DAYS_BEFORE - 1,), (DAYS_AFTER + 1,)])
def test_without_a_log_rows_are_those_posted_by_the_days_own_end(elsewhere):
    assert of(*elsewhere).rows_until(D0) == start(1)


def test_what_a_day_is_told_stays_the_same_once_all_its_labels_are_final():
    final = of(*range(-1, DAYS_AFTER + 1))
    assert final.source_text(D0) == of(*range(-50, 50)).source_text(D0)
    assert final.source_text(D0) != of(*range(-1, DAYS_AFTER)).source_text(D0)
    assert of(-20).source_text(D0) != of().source_text(D0)


def test_a_gap_is_named_by_those_that_wait_for_it_and_a_day_that_has_not_ended_is_no_gap():
    seen = of(0, 1, 3, 4)
    assert seen.waits_for(D0, today=D0 + 6 * DAY) == [D0 + 2 * DAY, D0 + 5 * DAY]
    assert seen.waits_for(D0, today=D0 + 2 * DAY) == []
    assert of(*range(9)).waits_for(D0, today=D0 + 90 * DAY) == []


def entries(*rows: tuple[int, str, str]) -> pl.DataFrame:
    """Entries of the ledger: day, digest, and what was outside."""
    return pl.DataFrame(
        [(D0 + n * DAY, digest, f'{{"outside": "{outside}"}}') for n, digest, outside in rows],
        schema={"day": pl.Date, "digest": pl.String, "inputs": pl.String},
        orient="row",
    )


def test_a_day_is_complete_if_it_has_a_log_that_was_read_after_its_end():
    known = entries((0, "d", "abc"), (1, "d", "abc" + UNFINISHED), (2, "d", "abc" + NO_LOG), (3, "", ""), (4, "d", "abc"))
    assert complete_days(known, start(9)) == {D0, D0 + 4 * DAY}


def test_no_day_is_complete_before_it_has_ended_whatever_the_ledger_says():
    known = entries((0, "d", "abc"), (1, "d", "abc"))
    assert complete_days(known, end_of(D0 + DAY) - timedelta(microseconds=1)) == {D0}
    assert complete_days(known, end_of(D0 + DAY)) == {D0, D0 + DAY}
