"""The labeling function of the campaign of the fault tests."""

import polars as pl

from pipeline_assets.labeling.weak.functions import labeling_function


@labeling_function(name="wide", classes=["sharp"])
def wide(items: pl.DataFrame) -> pl.Expr:
    """A wide photo."""
    return pl.when(pl.col("width_px") > pl.col("height_px")).then(pl.lit("sharp"))
