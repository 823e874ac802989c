"""`darkroom feast`: user features for the feature store Feast."""

from datetime import date
from pathlib import Path

import click

from pipeline_assets.commands.session import Days, console, services
from pipeline_assets.runtime.terminal import VisibleCommands


@click.group(cls=VisibleCommands)
def feast() -> None:
    """Hand user features to Feast, which serves snapshots of them."""


@feast.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--days", type=Days(), help="Only these UTC days: 2026-01-01..2026-01-31 or one day. Default: all.")
def export(folder: Path, days: tuple[date, date] | None) -> None:
    """Write a feature repository that Feast 0.67 applies, materializes and serves.

    \b
    darkroom feast export ./feature-repo
    cd feature-repo; feast apply; feast materialize-incremental $(date -u +%Y-%m-%dT%H:%M:%S); feast serve

    FOLDER gets the rows of user_features as Parquet, the definitions (an entity, a feature view with a push source, an
    on-demand view of the age) and settings with local files. Change definitions and settings as you like: a later export
    into the same folder replaces only the data.

    Feast answers with the values of the last day's end. `darkroom serve` answers with those of the moment.
    """
    import polars as pl

    from pipeline_assets.features import users
    from pipeline_assets.features.assets import USERS_SQL
    from pipeline_assets.serving.feast_repository import write_repository
    from resources.assembly import resolve

    with services() as settings:
        resources = resolve(settings)
        rows = resources["lake"].scan("user_features")
        if days:
            rows = rows.filter(pl.col("day").is_between(*days))
        joined, _ = users.judge(resources["database"].read(USERS_SQL), [])
        number = write_repository(folder, rows, joined.lazy())
    console.print(f"{folder} has {number:,} rows of user_features, and the definitions for `feast apply`.")
