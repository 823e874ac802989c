"""`darkroom import`: imports files, or a data set of another tool."""

from datetime import UTC, datetime
from pathlib import Path

import click

from pipeline_assets.commands.session import console, services
from pipeline_assets.versioning.formats import FORMATS, REPOSITORIES


@click.command("import")
@click.argument("source", metavar="FOLDER|FILE|s3://...")
@click.option(
    "--days",
    default=14,
    show_default=True,
    type=click.IntRange(1, 200),
    help="Number of days over which the photos are spread.",
)
@click.option("--format", "kind", type=click.Choice([*FORMATS, *REPOSITORIES]), help="SOURCE is a data set in this format.")
@click.option("--name", help="With --format: import it as a version, datasets/NAME.json.")
@click.option("--as-uploads", is_flag=True, help="With --format: upload its files, like those of a folder.")
@click.option("--bytes-column", help="With --format: column of the files' bytes. Default: bytes, image/encoded or image.")
@click.option("--folder", default="", help="With git-lfs and dvc: only this folder of the repository.")
@click.option("--revision", help="With git-lfs: commit, branch or tag to import. Default: HEAD.")
@click.option(
    "--remote", metavar="FOLDER|s3://...", help="With dvc: remote to read from. Default: the repository's own remote."
)
@click.option("--endpoint", metavar="URL|aws", help="With dvc: S3 endpoint of its remote. Default: Darkroom's own.")
@click.option("-m", "--message", default="", help="With --name: description of this version.")
@click.option("--allow-dirty", is_flag=True, help="With --name: pin even if the code has uncommitted changes.")
def import_(
    source: str,
    days: int,
    kind: str | None,
    name: str | None,
    as_uploads: bool,
    bytes_column: str | None,
    folder: str,
    revision: str | None,
    remote: str | None,
    endpoint: str | None,
    message: str,
    allow_dirty: bool,
) -> None:
    """Import a folder, a bucket, or a data set of another tool.

    The files of a folder (with its subfolders) or a bucket are imported as if users had uploaded them: each regular file
    becomes one object and one row of raw_uploads, whatever its type. Files that were already imported from this source
    are skipped. Owners, posting times and logs are simulated. Nothing is materialized: see `darkroom run`.

    \b
    darkroom import ./photos
    darkroom import ./shards --format webdataset --name cats       a version: files and rows.parquet
    darkroom import ./train.tfrecord --format tfrecord --as-uploads
    darkroom import ../old-project --format dvc --folder data --name scans

    With --format, SOURCE is a data set of another tool. As a version (--name) it keeps its rows and labels. As uploads
    (--as-uploads) only its files are imported, without its rows. Damaged or unsafe items are set aside with a reason.
    """
    if kind is None:
        if name or as_uploads or bytes_column or message or allow_dirty:
            raise click.UsageError("--name, --as-uploads, --bytes-column, -m and --allow-dirty need --format")
        from pipeline_assets.sample.uploading import import_source

        with services() as settings:
            import_source(settings, source, days, datetime.now(UTC).date(), console)
        return
    if kind in REPOSITORIES:
        if name is None or as_uploads or bytes_column:
            raise click.UsageError(f"a {kind} repository becomes a version: give --name NAME, without --bytes-column")
        from pipeline_assets.commands.pin import print_pinned
        from pipeline_assets.versioning.formats import repositories

        options = repositories.RepositoryOptions(folder, revision or "HEAD", remote or "", endpoint)
        with services(stores_only=True) as settings:
            reference = repositories.import_version(
                settings, Path(source), kind, options, name, message, is_dirty_allowed=allow_dirty, console=console
            )
        print_pinned(reference)
        return
    if folder or revision or remote or endpoint:
        raise click.UsageError("--folder, --revision, --remote and --endpoint need --format git-lfs or dvc")
    if (name is None) != as_uploads:
        raise click.UsageError("choose --name NAME for a version, or --as-uploads")
    from pipeline_assets.commands.pin import print_pinned
    from pipeline_assets.versioning.formats import importing
    from pipeline_assets.versioning.formats.incoming import Reading

    with services() as settings:
        reading = Reading(bytes_column)
        if name is None:
            today = datetime.now(UTC).date()
            importing.import_uploads(settings, source, kind, reading, days, today, console)
            return
        reference = importing.import_version(
            settings, source, kind, reading, name, message, is_dirty_allowed=allow_dirty, console=console
        )
    print_pinned(reference)
