"""Selects the stale days to compute, and those that can be computed. `staleness` decides which days are stale."""

from collections.abc import Iterable, Mapping
from datetime import date

import numpy as np
import polars as pl

from pipeline_assets.framework.staleness import Days, Rule, numbers, order, slices


def needed(
    survey: pl.DataFrame, rules: Mapping[str, Rule], assets: Iterable[str], days: Iterable[date] | None
) -> pl.DataFrame:
    """The stale days of these assets (and days), with all stale days that they read, directly or indirectly."""
    stale = survey.filter(pl.col("reason").is_not_null())
    selected = stale.filter(pl.col("asset").is_in(list(assets)))
    if days is not None:
        selected = selected.filter(pl.col("day").is_in(pl.Series(list(days), dtype=pl.Date).implode()))
    days_by_asset = {
        str(key[0]): numbers(frame["day"]) for key, frame in selected.partition_by("asset", as_dict=True).items()
    }
    for asset in reversed(order(rules)):
        for name, window in rules[asset].windows.items() if asset in days_by_asset else ():
            stale_days = numbers(stale.filter(pl.col("asset") == name)["day"])
            low, high = slices(days_by_asset[asset], stale_days, (-window[1], -window[0]))
            read = stale_days[low < high]
            days_by_asset[name] = np.union1d(days_by_asset.get(name, read), read).astype(np.int32)
    selected_days = pl.concat(
        [
            pl.DataFrame(schema={"asset": pl.String, "day": pl.Date}),
            *(_named(asset, numbered) for asset, numbered in days_by_asset.items()),
        ]
    )
    return stale.join(selected_days, on=["asset", "day"], how="semi", maintain_order="left")


def computable(stale: pl.DataFrame, rules: Mapping[str, Rule], newest: pl.DataFrame) -> pl.DataFrame:
    """The stale days that can be computed in order: each same-day input of a day exists, or is one of them."""
    available = {str(key[0]): frame.select("day") for key, frame in newest.partition_by("asset", as_dict=True).items()}
    no_days, kept = pl.DataFrame(schema={"day": pl.Date}), [stale.clear()]
    for asset in order(rules):
        asset_days = stale.filter(pl.col("asset") == asset)
        for name, window in rules[asset].windows.items():
            if window == (0, 0) and not asset_days.is_empty():
                asset_days = asset_days.join(available.get(name, no_days), on="day", how="semi", maintain_order="left")
        available[asset] = pl.concat([available.get(asset, no_days), asset_days.select("day")])
        kept.append(asset_days)
    return pl.concat(kept)


def as_runs_will(survey: pl.DataFrame, rules: Mapping[str, Rule], newest: pl.DataFrame) -> pl.DataFrame:
    """The survey with reason `upstream` instead of `waiting` for days whose missing inputs can be computed first."""
    stale = survey.filter(pl.col("reason").is_not_null())
    computed_first = computable(stale, rules, newest).filter(pl.col("reason") == "waiting").select("asset", "day")
    joined = survey.join(computed_first.with_columns(is_helped=True), on=["asset", "day"], how="left", maintain_order="left")
    return joined.select(
        "asset",
        "day",
        reason=pl.when("is_helped").then(pl.lit("upstream")).otherwise("reason"),
        detail=pl.when("is_helped").then(pl.col("detail") + ", computed first").otherwise("detail"),
    )


def _named(asset: str, days: Days) -> pl.DataFrame:
    return pl.DataFrame({"day": pl.Series(days, dtype=pl.Int32).cast(pl.Date)}).select(pl.lit(asset).alias("asset"), "day")
