"""`darkroom explore duplicates`: photos of all days that are the same, or nearly."""

from typing import Any

import click
from rich.table import Table as Grid

from pipeline_assets.commands.session import console, services


@click.command()
@click.option("-n", "--groups", "count", type=click.IntRange(1), help="Number of groups. Default: 20 in a table, else all.")
@click.option("--format", "kind", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--condition", is_flag=True, help="Print only the condition that keeps the first photo of each group.")
@click.option(
    "--by",
    type=click.Choice(["photo_id", "key", "sha256"]),
    default="photo_id",
    show_default=True,
    help="The column of the condition.",
)
def duplicates(count: int | None, kind: str, condition: bool, by: Any) -> None:
    """Print the groups of photos with equal bytes, nearly equal perceptual hashes, or nearly equal embeddings, of all days.

    \b
    darkroom explore duplicates
    darkroom explore duplicates --format json
    darkroom checkout NAME TARGET --where "$(darkroom explore duplicates --condition)"

    As of the newest night of `embedding_map`. The photo to keep is the first, by upload day and key; nothing is deleted.
    """
    import polars as pl

    from pipeline_assets.exploration.map import search
    from resources.assembly import resolve

    with services() as settings:
        lake = resolve(settings)["lake"]
        nights = lake.scan("embedding_map").select(pl.col("day").max()).collect()["day"]
        rows = lake.scan("embedding_map", nights.drop_nulls().to_list())
        columns = ("key", "photo_id", "upload_day", "sha256", "duplicate_group")
        groups = search.duplicate_groups(rows.select(columns).collect())
        if condition:
            click.echo(search.without_duplicates(groups, by))
            return
        if kind == "json":
            click.echo(groups.drop("keep_sha256").head(count or groups.height).write_ndjson(), nl=False)
            return
        grid = Grid("photos", "contents", "days", "keep", "group")
        for row in groups.head(count or 20).iter_rows(named=True):
            days = {str(row["first_day"]): None, str(row["last_day"]): None}
            grid.add_row(
                f"{row['photos']:,}", f"{row['contents']:,}", " to ".join(days), row["keep"], row["duplicate_group"][:12]
            )
        if groups.height:
            console.print(grid)
        extra = int(groups["photos"].sum()) - groups.height
        console.print(f"{groups.height:,} groups in the night of {nights[0]}; {extra:,} photos are not the first of theirs.")
