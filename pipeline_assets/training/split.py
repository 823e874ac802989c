"""Which users train, validate and test: by a hash of the user that no library version and no new data can change."""

import polars as pl

from pipeline_assets.training.schemas import SPLITS

DEFAULT_FRACTIONS = (0.8, 0.1, 0.1)
_BITS = 32


def split_of(user_id: pl.Expr, fractions: tuple[float, float, float] = DEFAULT_FRACTIONS) -> pl.Expr:
    """One of SPLITS for each user, near `fractions` of them: train, validation, test; all of a user's photos together.

    Raises ValueError unless the fractions are within [0, 1] and add up to 1.
    Source: the finalizer of SplitMix64 (Steele, Lea, Flood 2014), of which the upper 32 bits are used.
    """
    if any(not 0 <= part <= 1 for part in fractions) or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"fractions {fractions} of {SPLITS} must be within [0, 1] and add up to 1")
    train, validation, test = SPLITS
    bucket = splitmix64(user_id) // 2 ** (64 - _BITS)
    first = round(fractions[0] * 2**_BITS)
    second = round((fractions[0] + fractions[1]) * 2**_BITS)
    return pl.when(bucket < first).then(pl.lit(train)).when(bucket < second).then(pl.lit(validation)).otherwise(pl.lit(test))


def splitmix64(number: pl.Expr) -> pl.Expr:
    """SplitMix64's output for the state `number` (any integer): UInt64, a bijection. Products wrap modulo 2^64."""
    mixed = number.cast(pl.Int64).reinterpret(signed=False) + _unsigned(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed // _unsigned(2**30)) * _unsigned(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed // _unsigned(2**27)) * _unsigned(0x94D049BB133111EB)
    return mixed ^ mixed // _unsigned(2**31)


def _unsigned(value: int) -> pl.Expr:
    return pl.lit(value, pl.UInt64)
