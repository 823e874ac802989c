"""The `darkroom` command: parses, calls, prints. What it does is done elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from pipeline_assets.errors import DarkroomError
from pipeline_assets.variants.cli import variants
from pipeline_assets.versioning import cli_formats
from pipeline_assets.versioning.cli import COMMANDS
from pipeline_assets.versioning.formats import FORMATS, REPOSITORIES
from resources.errors import ResourceError
from resources.settings import Settings, load_settings, plain, shell_lines

if TYPE_CHECKING:
    from pipeline_assets.currency import Range

console = Console(highlight=False, soft_wrap=True)


class Day(click.ParamType[date]):
    """A UTC day as YYYY-MM-DD."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The day that a text names; a usage error where it names none."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day: write it as 2026-01-31", param, ctx)


class Days(click.ParamType["Range"]):
    """UTC days as FIRST..LAST, or one day."""

    name = "days"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Range":
        """The range that a text names; a usage error where it names none."""
        from pipeline_assets.currency import Range

        if isinstance(value, Range):
            return value
        first, _, last = value.partition("..")
        found = Range(*(Day().convert(text, param, ctx) for text in (first, last or first)))
        if found.first > found.last:
            self.fail(f"{value!r} ends before it begins", param, ctx)
        return found


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="darkroom")
def main() -> None:
    """Darkroom: from raw photo uploads to a trained popularity model, every byte of it named.

    \b
    darkroom run       import photos, materialize the whole graph, print a summary
    darkroom ui        the Dagster UI on http://127.0.0.1:3000, with schedule and sensors on
    darkroom show training_table --day 2026-01-31
    """


@contextmanager
def services(*, stores_only: bool = False) -> Iterator[Settings]:
    """The services for one command. An error that Darkroom raises on purpose is printed in one line; exit status 1.

    stores_only: the command needs the object stores alone. Where they are up, nothing else is made sure of, since what
    does takes a second to load.
    """
    settings = load_settings()
    try:
        if stores_only and _are_up(settings):
            yield settings
            return
        from resources.services import running

        with running(settings) as settings:
            yield settings
    except (DarkroomError, ResourceError, FileNotFoundError) as error:
        raise click.ClickException(f"{type(error).__name__}: {error}") from error


def _are_up(settings: Settings) -> bool:
    from resources.embedded import Services

    return not settings.wants_embedded or Services(settings.home, settings.embedded_servers).status().running


@main.command()
@click.option("--photos", metavar="FOLDER|s3://...|sample", help="Photos to import. Default: the sample, once.")
@click.option(
    "--days", default=14, show_default=True, type=click.IntRange(1, 200), help="Spread new photos over so many days."
)
def run(photos: str | None, days: int) -> None:
    """Import photos and materialize the whole graph by real Dagster runs; print what came of it.

    Photos are spread over the last DAYS days whose labels are mature, with users and logs from a simulator. With nothing
    new to do it says so and ends. Services that it started are stopped at the end; the data stay in .darkroom/.
    """
    from pipeline_assets.job import run_everything

    with services() as settings:
        ok = run_everything(settings, photos, days, datetime.now(UTC).date(), console)
    sys.exit(0 if ok else 1)


@main.command("import")
@click.argument("source", metavar="FOLDER|FILE|s3://...")
@click.option(
    "--days", default=14, show_default=True, type=click.IntRange(1, 200), help="Spread the photos over so many days."
)
@click.option("--format", "kind", type=click.Choice([*FORMATS, *REPOSITORIES]), help="SOURCE is a data set in this format.")
@click.option("--name", help="With --format: bring it in as a version, datasets/NAME.json.")
@click.option("--as-uploads", is_flag=True, help="With --format: upload its files, as those of a folder.")
@click.option("--bytes-column", help="With --format: the column that holds files. Default: bytes, image/encoded or image.")
@click.option("--folder", default="", help="With git-lfs and dvc: only what lies below this folder of the repository.")
@click.option("--revision", help="With git-lfs: as of this commit, branch or tag. Default: HEAD.")
@click.option(
    "--remote", metavar="FOLDER|s3://...", help="With dvc: where contents are. Default: the repository's own remote."
)
@click.option("-m", "--message", default="", help="With --name: what this version is.")
@click.option("--allow-dirty", is_flag=True, help="With --name: pin although the code has uncommitted changes.")
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
    message: str,
    allow_dirty: bool,
) -> None:
    """Bring the files of a folder (with all below it) or a bucket in, as if users had uploaded them.

    Each regular file becomes one object and one row of raw_uploads, whatever it is. Files that were imported from there
    before are left. Owners, posting times and logs are simulated. Nothing is materialized: see `darkroom run`.

    \b
    darkroom import ./photos
    darkroom import ./shards --format webdataset --name cats       a version: files and rows.parquet
    darkroom import ./train.tfrecord --format tfrecord --as-uploads
    darkroom import ../old-project --format dvc --folder data --name scans

    With --format, SOURCE is a data set of another tool. As a version (--name) it keeps its rows, labels and all; as uploads
    its files become photos of Darkroom, and its rows are left. What is damaged or unsafe is kept aside with its reason.
    """
    if kind is None:
        if name or as_uploads or bytes_column or message or allow_dirty:
            raise click.UsageError("--name, --as-uploads, --bytes-column, -m and --allow-dirty go with --format")
        from pipeline_assets.job import import_source

        with services() as settings:
            import_source(settings, source, days, datetime.now(UTC).date(), console)
        return
    if kind in REPOSITORIES:
        if name is None or as_uploads or bytes_column:
            raise click.UsageError(f"a {kind} repository becomes a version: give --name NAME, and no --bytes-column")
        from pipeline_assets.versioning import repositories
        from pipeline_assets.versioning.cli import print_pinned

        asked = repositories.Asked(folder, revision or "HEAD", remote or "")
        with services(stores_only=True) as settings:
            made = repositories.import_version(
                settings, Path(source), kind, asked, name, message, is_dirty_allowed=allow_dirty, console=console
            )
        print_pinned(made)
        return
    if folder or revision or remote:
        raise click.UsageError("--folder, --revision and --remote go with --format git-lfs or dvc")
    if (name is None) != as_uploads:
        raise click.UsageError("say what becomes of it: --name NAME for a version, or --as-uploads")
    from pipeline_assets.versioning import import_format
    from pipeline_assets.versioning.cli import print_pinned
    from pipeline_assets.versioning.formats.incoming import Reading

    with services() as settings:
        reading = Reading(bytes_column)
        if name is None:
            today = datetime.now(UTC).date()
            import_format.import_uploads(settings, source, kind, reading, days, today, console)
            return
        made = import_format.import_version(
            settings, source, kind, reading, name, message, is_dirty_allowed=allow_dirty, console=console
        )
    print_pinned(made)


@main.command()
@click.argument("asset")
@click.option("--day", type=Day(), help="One day. Default: all days.")
@click.option("--format", "kind", type=click.Choice(["table", "json", "csv", "parquet"]), default="table", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file, not to the terminal."
)
@click.option("-n", "--rows", type=click.IntRange(0), help="At most so many rows. Default: 20 for a table, else all.")
def show(asset: str, day: date | None, kind: str, output: Path | None, rows: int | None) -> None:
    """Print an asset's rows, or write them to a file. ASSET_rejected is what ASSET kept aside, with reasons.

    \b
    darkroom show raw_uploads --day 2026-01-31
    darkroom show training_table --format parquet -o training.parquet
    darkroom show event_log_rejected
    """
    from pipeline_assets.show import write_rows

    if kind == "parquet" and output is None:
        raise click.UsageError("parquet is not for a terminal: name a file with -o")
    with services() as settings:
        write_rows(settings, asset, day, kind, output, rows)


@main.command()
@click.option("--asset", "assets", multiple=True, metavar="ASSET", help="Only this asset. May be given more than once.")
@click.option("--days", type=Days(), help="Only these days, as 2026-01-01..2026-01-31 or one day. Default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every day that is not current, with reason and detail.")
def status(assets: tuple[str, ...], days: "Range | None", as_json: bool) -> None:
    """Say what each asset holds, and which days are not current, with the reason.

    \b
    new       never computed             data      what it reads has changed
    code      its code has changed       model     the classifier has changed
    config    a setting has changed      waiting   an input of the day does not exist
    upstream  current by itself, but it reads a day that is not
    """
    from pipeline_assets.status import print_status, status_json

    _check_assets(assets)
    with services() as settings:
        if as_json:
            click.echo(status_json(settings, datetime.now(UTC).date(), assets, days))
        else:
            print_status(settings, datetime.now(UTC).date(), console, assets, days)


@main.command()
@click.option("--asset", "assets", multiple=True, metavar="ASSET", help="Only this asset, with what it reads.")
@click.option("--days", type=Days(), help="Only these days, with what they read: 2026-01-01..2026-01-31 or one day.")
@click.option("--dry-run", is_flag=True, help="Print the cost and the runs, and run nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def refresh(assets: tuple[str, ...], days: "Range | None", dry_run: bool, yes: bool) -> None:
    """Compute exactly the days that are not current, after saying what that will cost.

    Rows and time are estimated from the ledger's earlier days. A day whose inputs come out as they were costs a look-up.
    """
    from pipeline_assets.refresh import refresh as make_current

    _check_assets(assets)
    with services() as settings:
        today = datetime.now(UTC).date()
        ok = make_current(settings, today, console, assets, days, dry_run=dry_run, confirmed=yes)
    sys.exit(0 if ok else 1)


def _check_assets(names: tuple[str, ...]) -> None:
    from pipeline_assets.nightly import ASSETS

    if unknown := [name for name in names if name not in ASSETS]:
        raise click.UsageError(f"no asset {', '.join(unknown)}: there are {', '.join(ASSETS)}")


@main.command()
@click.option("--dry-run", is_flag=True, help="Count what is amiss, and change nothing.")
def reconcile(dry_run: bool) -> None:
    """Walk all versions of the uploads bucket beside the ledger, as the nightly job does.

    What the ledger has missed enters it, and its days are computed by the next run. Overwrites and deletions are recorded;
    they remove nothing. A walk that was stopped goes on where it was.
    """
    from pipeline_assets.job import reconcile_bucket

    with services() as settings:
        reconcile_bucket(settings, dry_run, console)


@main.command()
def up() -> None:
    """Start the services and leave them running: PostgreSQL and S3, migrated, with buckets and Dagster's home made."""
    from resources.services import start

    try:
        settings = start(load_settings(), detach=True)
    except ResourceError as error:
        raise click.ClickException(str(error)) from error
    where = "embedded, under " + str(settings.home) if settings.embedded else "yours, from the environment"
    if settings.uses_sqlite:
        s3 = f"S3 is up ({where})" if "s3://" in settings.uploads_url + settings.lake_url else "folders: no server is needed"
        console.print(f"The database is {plain(settings.postgres_url)}; {s3}.")
    else:
        console.print(f"PostgreSQL and S3 are up ({where}).")
    console.print('For your own tools: eval "$(darkroom env)".  The UI: darkroom ui.  Stop: darkroom down.')


@main.command()
@click.option("--delete", is_flag=True, help="Also delete all data in .darkroom/, after asking.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def down(delete: bool, yes: bool) -> None:
    """Stop the embedded services. The data stay, unless --delete is given."""
    from resources.services import delete_home, home_size, stop

    settings = load_settings()
    console.print("Stopped." if stop(settings) else "Nothing was running.")
    if delete:
        if not settings.home.exists():
            console.print(f"{settings.home} does not exist: nothing to delete.")
            return
        size = home_size(settings)
        if yes or click.confirm(f"Delete {settings.home} with {size / 2**20:,.0f} MB of objects, tables and ledgers?"):
            delete_home(settings)
            console.print(f"Deleted {settings.home}.")


@main.command()
def env() -> None:
    """Print export lines for your shell, so that aws, psql, rclone and duckdb work on the running services.

    \b
    eval "$(darkroom env)"
    psql "$DATABASE_URL"            aws s3 ls s3://uploads/
    rclone ls darkroom:uploads      duckdb   (its httpfs reads the AWS_ variables)

    The lines hold secrets: do not put them into a log.
    """
    from resources.embedded import Services

    settings = load_settings()
    if settings.wants_embedded and not Services(settings.home, settings.embedded_servers).status().running:
        raise click.ClickException("no services run: start them with `darkroom up`")
    for line in shell_lines(settings):
        click.echo(line)


@main.command()
def ui() -> None:
    """Run the Dagster UI with its daemon: schedule, sensors and automation on, until Ctrl-C.

    On http://127.0.0.1:3000 (DARKROOM_UI_PORT). It listens on this machine only and has no login: anyone who can reach
    the port can start runs. For shared use put a proxy with a login before it: see docs/operations.md.
    """
    from resources.ui import serve_ui

    with services() as settings:
        console.print(f"Dagster UI: http://127.0.0.1:{settings.ui_port}   (Ctrl-C stops it and the services)")
        serve_ui(settings, Path(__file__).parents[1], lambda line: console.print(f"{datetime.now(UTC):%H:%M:%S} UTC {line}"))


@main.command(hidden=True)
@click.argument("output", type=click.Path(path_type=Path))
def document(output: Path) -> None:
    """Write docs/tables.md: every asset's table schema, generated from the code."""
    from pipeline_assets.document import tables_page

    output.write_text(tables_page())


for command in (*COMMANDS, *cli_formats.COMMANDS, variants):
    main.add_command(command)

if __name__ == "__main__":
    main()
