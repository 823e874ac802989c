"""Replays logged asks offline: the features that were answered beside those of `user_features_as_of`, without tolerance."""

import polars as pl

from pipeline_assets.features.user_features import FEATURES, user_features_as_of

CUTS = 50
"""Distinct `known_through` that are replayed, an even sample of more: each is one pass of the log."""


def replayed(asks: pl.DataFrame, users: pl.DataFrame, events: pl.LazyFrame, photos: pl.LazyFrame) -> pl.DataFrame:
    """ask_id and `outcome` of the asks of users that are known.

    - equal: what was answered is what is known offline of that moment.
    - behind: events had arrived that the state had not taken in; of those that it had, the answer is exact.
    - different: neither. There is an error in the code or in the data.

    asks: of `ServingLog`. users: user_id, joined_at. events, photos: as for `user_features_as_of`.
    """
    named = asks.filter(pl.col("user_id").is_not_null()).select("ask_id", "user_id", "as_of", "known_through", *FEATURES)
    known = named.join(users, on="user_id")
    fresh = _same(known, events, photos)
    late = known.join(fresh, on="ask_id", how="anti")
    cuts = late["known_through"].unique().sort()
    tested = cuts.gather_every(max(1, -(-len(cuts) // CUTS)))
    behind = [_same(late.filter(known_through=cut), events.filter(pl.col("arrived_at") <= cut), photos) for cut in tested]
    outcomes = [
        fresh.with_columns(outcome=pl.lit("equal")),
        *(same.with_columns(outcome=pl.lit("behind")) for same in behind),
    ]
    found = pl.concat(outcomes)
    rest = late.filter(pl.col("known_through").is_in(tested.implode())).join(found, on="ask_id", how="anti")
    return pl.concat([found, rest.select("ask_id", outcome=pl.lit("different"))])


def _same(asks: pl.DataFrame, events: pl.LazyFrame, photos: pl.LazyFrame) -> pl.DataFrame:
    """The ask_id of those whose features are exactly those of the offline function."""
    if asks.is_empty():
        return asks.select("ask_id")
    entities = asks.select("ask_id", "user_id", "as_of", "joined_at").lazy()
    offline = user_features_as_of(entities, events, photos).select("ask_id", *FEATURES).collect(engine="streaming")
    both = asks.join(offline, on="ask_id", suffix="_offline")
    return both.filter(pl.col(name).eq_missing(pl.col(f"{name}_offline")) for name in FEATURES).select("ask_id")
