"""`darkroom export`: writes a data set in the format of another tool."""

from datetime import date
from pathlib import Path

import click

from pipeline_assets.commands.session import Days, console, services
from pipeline_assets.versioning.formats import FORMATS, REPOSITORIES


@click.command(epilog="\b\n" + "\n".join(f"{name:<12}{kind.about}" for name, kind in (FORMATS | REPOSITORIES).items()))
@click.argument("name")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice([*FORMATS, *REPOSITORIES]),
    required=True,
    help="Output format; see the list below.",
)
@click.option("--columns", help="Only these columns of a table, separated by commas. Default: all.")
@click.option("--where", help="Only rows that match this SQL expression over the columns.")
@click.option("--days", type=Days(), help="Only these UTC days, e.g. 2026-01-01..2026-01-31. Default: all pinned days.")
@click.option(
    "--bytes/--no-bytes",
    "with_bytes",
    default=None,
    help="Include each row's file. Default: yes, except for a table in parquet or feather.",
)
@click.option("--rows-per-shard", type=click.IntRange(1), help="Number of rows in each file. Default: by size.")
@click.option(
    "--shard-mb", type=click.IntRange(1), default=256, show_default=True, help="Approximate size of each file in MB."
)
@click.option("--remote", metavar="FOLDER|s3://...", help="DVC remote to write to. Default: the repository's own remote.")
@click.option("--endpoint", metavar="URL|aws", help="With dvc: S3 endpoint of its remote. Default: Darkroom's own.")
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
    endpoint: str | None,
) -> None:
    """Write a pinned data set in the format of another tool.

    NAME is a data set of the work tree, or REVISION:NAME. TARGET is a new or empty folder.

    \b
    darkroom export popularity ./for-jax --format tfrecord --columns photo_id,sha256,top_class,popularity
    darkroom export v1.0:popularity ./shards --format webdataset --where "split = 'train'" --rows-per-shard 10000
    darkroom export scans ./scans.coco --format coco
    darkroom export scans ./for-dvc --format dvc --remote s3://bucket/dvc

    Each file is written whole or not at all. The last one, _darkroom.json, lists the files and the column types: if it
    exists, the export is complete. Memory use does not grow with the data. The command prints what a format can't store;
    docs/interop.md lists it. To get only the original files, use `darkroom checkout`. For git-lfs and dvc, TARGET may be a
    git work tree; nothing is committed there.
    """
    from pipeline_assets.versioning.formats import exporting
    from pipeline_assets.versioning.formats.records import ExportOptions

    if kind in REPOSITORIES:
        if columns or where or days or with_bytes is not None or rows_per_shard:
            raise click.UsageError(
                f"{kind} exports the whole data set: --columns, --where, --days, --bytes and --rows-per-shard do not apply"
            )
        from pipeline_assets.versioning.formats import repositories

        options = repositories.RepositoryOptions(remote=remote or "", endpoint=endpoint)
        with services(stores_only=True) as settings:
            repositories.export(settings, name, target, kind, options, console)
        return
    if remote or endpoint:
        raise click.UsageError("--remote and --endpoint need --format dvc")
    column_names = [column.strip() for column in columns.split(",")] if columns else None
    with services() as settings:
        with_bytes = exporting.wants_bytes(name, kind, with_bytes)
        export_options = ExportOptions(column_names, days, with_bytes, rows_per_shard, shard_mb * 1024**2, where)
        exporting.export(settings, name, target, kind, export_options, console)


COMMANDS = (export,)
