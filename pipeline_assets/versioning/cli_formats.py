"""The command that takes data sets to other tools: parse, call, print."""

from datetime import date
from pathlib import Path

import click
from rich.console import Console

from pipeline_assets.versioning.cli import DaySpan
from pipeline_assets.versioning.formats import FORMATS, REPOSITORIES

console = Console(highlight=False, soft_wrap=True)


@click.command(epilog="\b\n" + "\n".join(f"{name:<12}{kind.about}" for name, kind in (FORMATS | REPOSITORIES).items()))
@click.argument("name")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--format", "kind", type=click.Choice([*FORMATS, *REPOSITORIES]), required=True, help="What to write; see below."
)
@click.option("--columns", help="Only these columns of a table, separated by commas. Default: all.")
@click.option("--where", help="Only rows for which this SQL expression over the columns holds.")
@click.option("--days", type=DaySpan(), help="Only these UTC days, as 2026-01-01..2026-01-31. Default: all that are pinned.")
@click.option(
    "--bytes/--no-bytes",
    "with_bytes",
    default=None,
    help="With each row's file. Default: yes, but for a table in parquet or feather.",
)
@click.option("--rows-per-shard", type=click.IntRange(1), help="So many rows a file. Default: by size.")
@click.option("--shard-mb", type=click.IntRange(1), default=256, show_default=True, help="About so many MB a file.")
@click.option("--remote", metavar="FOLDER|s3://...", help="Where DVC's contents go. Default: the repository's own remote.")
def export(
    name: str,
    target: Path,
    kind: str,
    columns: str | None,
    where: str | None,
    days: tuple[date, date] | None,
    with_bytes: bool | None,
    rows_per_shard: int | None,
    shard_mb: int,
    remote: str | None,
) -> None:
    """Write a pinned data set for another tool: NAME, or REVISION:NAME, into the new or empty folder TARGET.

    \b
    darkroom export popularity ./for-jax --format tfrecord --columns photo_id,sha256,top_class,popularity
    darkroom export v1.0:popularity ./shards --format webdataset --where "split = 'train'" --rows-per-shard 10000
    darkroom export scans ./scans.coco --format coco
    darkroom export scans ./for-dvc --format dvc --remote s3://bucket/dvc

    Each file is written whole or not at all, and _darkroom.json, which lists them with the types of columns, is the last:
    where it is, the export is complete. Memory does not grow with the data. What a format can't hold is said, and listed
    in docs/interop.md. For the files alone, as they are, take `darkroom checkout`. For git-lfs and dvc TARGET may also be a
    git work tree; nothing is committed there.
    """
    from pipeline_assets.cli import services
    from pipeline_assets.versioning import exporting
    from pipeline_assets.versioning.formats.records import Asked

    if kind in REPOSITORIES:
        if columns or where or days or with_bytes is not None or rows_per_shard:
            raise click.UsageError(
                f"{kind} takes the whole set: --columns, --where, --days, --bytes and --rows-per-shard do not apply"
            )
        from pipeline_assets.versioning import repositories

        with services(stores_only=True) as settings:
            repositories.export(settings, name, target, kind, remote or "", console)
        return
    if remote:
        raise click.UsageError("--remote goes with --format dvc")
    wanted = [column.strip() for column in columns.split(",")] if columns else None
    with services() as settings:
        with_bytes = exporting.wants_bytes(name, kind, with_bytes)
        asked = Asked(wanted, days, with_bytes, rows_per_shard, shard_mb * 1024**2, where)
        exporting.export(settings, name, target, kind, asked, console)


COMMANDS = (export,)
