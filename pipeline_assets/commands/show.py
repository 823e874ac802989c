"""`darkroom show`: prints rows of a table, or writes them to a file."""

from datetime import date
from pathlib import Path

import click

from pipeline_assets.commands.session import Day, services


@click.command()
@click.argument("asset")
@click.option("--day", type=Day(), help="One day. Default: all days.")
@click.option("--format", "kind", type=click.Choice(["table", "json", "csv", "parquet"]), default="table", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file, not to the terminal."
)
@click.option(
    "-n", "--rows", type=click.IntRange(0), help="Maximum number of rows. Default: 20 with --format table, else all."
)
@click.option("--exact", is_flag=True, help="With --format csv, for programs: write values unchanged, formulas too.")
def show(asset: str, day: date | None, kind: str, output: Path | None, rows: int | None, exact: bool) -> None:
    """Print an asset's rows, or write them to a file. ASSET_rejected holds the inputs that ASSET rejected, with reasons.

    \b
    darkroom show raw_uploads --day 2026-01-31
    darkroom show training_table --format parquet -o training.parquet
    darkroom show event_log_rejected

    Control characters are shown as \\u001b. In CSV, a text that a spreadsheet would run as a formula gets a leading
    apostrophe, except with --exact. JSON and Parquet contain the values unchanged.
    """
    from pipeline_assets.commands.rows import write_rows

    if exact and kind != "csv":
        raise click.UsageError("--exact needs --format csv: JSON and Parquet contain the values unchanged")
    if kind == "parquet" and output is None:
        raise click.UsageError("parquet can't be printed: name a file with -o")
    with services() as settings:
        write_rows(settings, asset, day, kind, output, rows, exact=exact)
