"""Families against a slow reference, and splits that they must not cross."""

from itertools import combinations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.variants.families import families, split_families

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
