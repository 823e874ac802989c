"""The training table as this project makes it, from files into a file; run by `benchmarks.join`.

python -m benchmarks.rivals.join_darkroom FOLDER OUTPUT
"""

import sys
from pathlib import Path

import polars as pl

from benchmarks.join_inputs import DAYS, INPUTS
from benchmarks.rivals.reported import reported
from pipeline_assets.training.observation import Observation
from pipeline_assets.training.training_table import training_table


def main(folder: Path, output: Path) -> None:
    """Join the inputs in `folder` into `output`."""
    inputs = [pl.scan_parquet(folder / f"{name}.parquet") for name in INPUTS]
    training_table(*inputs, days=DAYS, observed=Observation.of(DAYS)).sink_parquet(output)


if __name__ == "__main__":
    reported(lambda: main(Path(sys.argv[1]), Path(sys.argv[2])))
