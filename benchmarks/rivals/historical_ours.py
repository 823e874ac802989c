"""Features of asks at their moments: from raw events by Darkroom, or from daily snapshots by polars' `join_asof`.

python -m benchmarks.rivals.historical_ours darkroom|polars FOLDER
"""

import sys
from pathlib import Path

import polars as pl

from benchmarks.rivals.reported import reported
from pipeline_assets.features.history import FEATURES
from pipeline_assets.features.user_features import user_features_as_of


def main() -> None:
    """Read the Parquet files of the folder, and write FEATURES in the order of the asks."""
    name, folder = sys.argv[1], Path(sys.argv[2])

    def darkroom() -> pl.DataFrame:
        asks = pl.scan_parquet(folder / "asks.parquet")
        inputs = (pl.scan_parquet(folder / f"{table}.parquet") for table in ("event_log", "photo_metadata"))
        return user_features_as_of(asks, *inputs).collect()

    def polars() -> pl.DataFrame:
        asks = pl.read_parquet(folder / "asks.parquet").sort("as_of")
        snapshots = pl.read_parquet(folder / "snapshots.parquet").sort("as_of")
        return asks.join_asof(snapshots, on="as_of", by="user_id", check_sortedness=False)

    work = {"darkroom": darkroom, "polars": polars}[name]
    reported(lambda: work().sort("row").select(FEATURES).write_parquet(folder / f"{name}.parquet"))


main()
