"""Contracts of profiles and drift."""

import dataframely as dy


class TableProfiles(dy.Schema):
    """What one column of a table has on one day. Nothing in it names a person: see `columns.py`."""

    day = dy.Date(primary_key=True)
    table = dy.String(primary_key=True)
    column = dy.String(primary_key=True)
    dtype = dy.String(description="as declared")
    kind = dy.String(description="what is kept: number, time, category, text, list, embedding, identifier, private")
    is_label = dy.Bool(description="whether a null is a label that is not known yet")
    table_digest = dy.String(description="digest of the profiled day of the table: an equal one is not read again")
    rows = dy.Int64(min=0)
    nulls = dy.Int64(min=0)
    not_finite = dy.Int64(min=0, description="NaN and infinite numbers; embeddings that are no direction")
    distinct = dy.Int64(nullable=True, min=0, description="values that differ, nulls apart; above 1,023 estimated, +- 3 %")
    is_distinct_exact = dy.Bool(nullable=True)
    minimum = dy.Float64(
        nullable=True,
        description="of numbers; of times, seconds since the day's start; of texts and lists, length; of embeddings, norm",
    )
    maximum = dy.Float64(nullable=True)
    mean = dy.Float64(nullable=True)
    std = dy.Float64(nullable=True)
    quantiles = dy.List(dy.Float64(), description="at 1, 5, 25, 50, 75, 95 and 99 %; empty without numbers")
    values = dy.List(dy.String(), description="of a category: the most frequent 1,000, most frequent first")
    value_rows = dy.List(dy.Int64(), description="rows of each of them; the others are the rest of the rows")
    bin_low = dy.List(dy.Float64(), description="histogram of about 200 equal shares: the smallest value of each bin")
    bin_high = dy.List(dy.Float64(), description="the largest value of each bin")
    bin_rows = dy.List(dy.Int64())
    moments = dy.List(dy.Float64(), description="of embeddings: means and second moments of 64 random features")


class Drift(dy.Schema):
    """How far one column of a table is from the reference: the days of the training window before it."""

    day = dy.Date(primary_key=True)
    table = dy.String(primary_key=True)
    column = dy.String(primary_key=True)
    kind = dy.String()
    rows = dy.Int64(min=0, description="with a value")
    reference_rows = dy.Int64(min=0, description="with a value")
    reference_days = dy.Int64(min=0, description="days of the reference with enough values to compare")
    null_share = dy.Float64(nullable=True, min=0, max=1)
    reference_null_share = dy.Float64(nullable=True, min=0, max=1)
    psi = dy.Float64(nullable=True, min=0, description="population stability index over bins of the reference, and nulls")
    ks = dy.Float64(nullable=True, min=0, max=1, description="largest distance of the distribution functions")
    mmd = dy.Float64(nullable=True, min=0, description="maximum mean discrepancy of embeddings, noise taken off")
    change = dy.String(nullable=True, description="what differs most, in words")
    dispersion = dy.Float64(
        nullable=True, min=1, description="how much more the reference's days differ than independent rows would"
    )
    p_value = dy.Float64(nullable=True, min=0, max=1, description="that a day like those of the reference differs as much")
    p_adjusted = dy.Float64(nullable=True, min=0, max=1, description="of the family of the day's columns (Holm)")
    is_alarm = dy.Bool(description="p_adjusted <= 0.05, and the difference is large enough to matter")
    reason = dy.String(nullable=True, description="why nothing was compared")
