"""The point-in-time join as one writes it by hand in SQL, on DuckDB; run by `benchmarks.join` in an environment of its own.

    python -m benchmarks.rivals.join_duckdb FOLDER OUTPUT UNTIL

Times are compared as integers: arithmetic on `timestamptz` costs half as much again. `split`, which is no part of the
join, is left out: DuckDB has less to do.
"""

import sys
from pathlib import Path

import duckdb

from benchmarks.rivals.reported import reported

INPUTS = ("raw_uploads", "photo_metadata", "photo_classes", "photo_styles", "event_log")


def main(folder: Path, output: Path, until: str) -> None:
    """Join the inputs in `folder` into `output`. until: a timestamp with its zone."""
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'; set preserve_insertion_order = false; set enable_progress_bar = false")
    for name in INPUTS:
        connection.read_parquet(str(folder / f"{name}.parquet")).create_view(name)
    connection.execute(f"set variable observed_until = timestamptz '{until}'")
    query = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    connection.execute(f"copy ({query}) to '{output}' (format parquet, compression zstd)")


if __name__ == "__main__":
    reported(lambda: main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
