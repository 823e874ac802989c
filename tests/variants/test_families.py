"""Families against a slow reference, and splits that they must not cross."""

from datetime import date
from itertools import combinations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.variants.families import NO_OTHERS, families, leaking, over_days, split_families

bases = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6)
flips = st.lists(st.lists(st.integers(0, 63), max_size=6), min_size=1, max_size=12)


def items(hashes: list[int | None], splits: list[str] | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "sha256": [f"{number:064x}" for number in range(len(hashes))],
            "phash": [None if value is None else f"{value:016x}" for value in hashes],
            "split": splits or ["train"] * len(hashes),
        },
        schema_overrides={"phash": pl.String},
    )


def slow(hashes: list[int | None]) -> list[set[int]]:
    """Connected by pairs of telling hashes at most 4 bits apart."""
    groups = [{number} for number in range(len(hashes))]
    for one, other in combinations(range(len(hashes)), 2):
        a, b = hashes[one], hashes[other]
        if a is None or b is None or (a ^ b).bit_count() > 4 or not all(16 <= x.bit_count() <= 48 for x in (a, b)):
            continue
        first, second = (next(group for group in groups if number in group) for number in (one, other))
        if first is not second:
            first |= second
            groups.remove(second)
    return sorted(groups, key=min)


@pytest.mark.slow
@given(bases, flips, st.booleans())
def test_families_are_those_of_a_slow_reference(bases: list[int], flips: list[list[int]], with_null: bool) -> None:
    hashes: list[int | None] = list(bases)
    for number, bits in enumerate(flips):
        value = bases[number % len(bases)]
        for bit in bits:
            value ^= 1 << bit
        hashes.append(value)
    hashes += [None] if with_null else []
    found: dict[str, set[int]] = {}
    for sha256, family in families(items(hashes)).iter_rows():
        found.setdefault(family, set()).add(int(sha256, 16))
    assert sorted(found.values(), key=min) == slow(hashes)


def test_a_family_in_two_splits_is_told_whole_and_others_are_not() -> None:
    near, far = 0x0F0F_0F0F_0F0F_0F0F, 0x00FF_00FF_00FF_00FF
    found = items([near, near ^ 1, near ^ 0b11111, far, None], ["train", "test", "train", "train", "test"])
    assert [int(sha256, 16) for sha256 in split_families(found)] == [0, 1, 2]


def test_the_same_bytes_in_two_splits_are_a_family() -> None:
    twice = pl.concat([items([None]), items([None], ["test"])])
    assert len(split_families(twice)) == 1


@pytest.mark.slow
@given(bases, flips, st.lists(st.sampled_from(["train", "test"]), min_size=18, max_size=18), st.booleans())
def test_relatives_on_other_days_are_those_of_a_slow_reference(
    bases: list[int], flips: list[list[int]], splits: list[str], with_null: bool
) -> None:
    theirs: list[int | None] = []
    for number, bits in enumerate(flips):
        value = bases[number % len(bases)]
        for bit in bits:
            value ^= 1 << bit
        theirs.append(value)
    mine: list[int | None] = [*bases, *([None] if with_null else [])]
    ours = items(mine, splits[: len(mine)])
    others = items(theirs, splits[-len(theirs) :]).with_columns(sha256="o" + pl.col("sha256"))

    def is_torn(number: int) -> bool:
        a = mine[number]
        return any(
            splits[number] != split and len(slow([a, b])) == 1
            for b, split in zip(theirs, splits[-len(theirs) :], strict=True)
        )

    assert sorted(over_days(ours, others)) == [f"{n:064x}" for n in range(len(mine)) if is_torn(n)]
    assert over_days(ours, NO_OTHERS) == []


def test_an_item_leaks_on_its_day_if_its_bytes_or_look_are_in_another_split_on_any_day() -> None:
    near, far = 0x0F0F_0F0F_0F0F_0F0F, 0x00FF_00FF_00FF_00FF
    first, second = date(2026, 1, 1), date(2026, 1, 9)
    both = pl.concat(
        [
            items([near, far]).with_columns(day=pl.lit(first)),
            items([None, None, near ^ 1], ["train", "train", "test"]).tail(1).with_columns(day=pl.lit(second)),
        ]
    )
    everywhere = both.select("sha256", "phash", "split")
    assert leaking(both, everywhere).rows() == [(first, f"{0:064x}"), (second, f"{2:064x}")]
    assert leaking(both, NO_OTHERS).is_empty()
    copies = both.with_columns(sha256=pl.lit("a"), phash=pl.lit(None, pl.String))
    assert leaking(copies, copies).rows() == [(first, "a"), (second, "a")]
