"""A synthetic table as metasyn makes it; run by `benchmarks.variants_tables` in an environment of its own.

    python -m benchmarks.rivals.table_metasyn INPUT OUTPUT SEED

Parquet files. metasyn draws each column on its own and keeps no correlations, as its documentation says.
"""

import sys
import warnings
from pathlib import Path

import polars as pl
from metasyn import MetaFrame

from benchmarks.rivals.reported import reported


def main(source: Path, target: Path, seed: int) -> None:
    """Fit and draw as many rows."""
    real = pl.read_parquet(source)
    MetaFrame.fit_dataframe(real, progress_bar=False).synthesize(real.height, seed=seed, progress_bar=False).write_parquet(
        target
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    reported(lambda: main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
