"""Which embeddings of a column can be compared. Expressions of Polars."""

import polars as pl

ARE_FINITE = pl.col("embedding").list.eval(pl.element().is_finite().fill_null(False)).list.all()
"""Null where there is no embedding; true of an empty one."""
HAVE_DIRECTION = ARE_FINITE & pl.col("embedding").list.eval(pl.element() != 0).list.any()
"""Finite, and not zero: so not empty, either."""
