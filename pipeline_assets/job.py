"""What `darkroom run`, `import` and `reconcile` do: import, discover, launch Dagster runs, and say what came of it."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import islice
from typing import Any

import polars as pl
import sqlalchemy.exc
from dagster_postgres.utils import DagsterPostgresException
from rich.console import Console
from rich.table import Table as Grid

from pipeline_assets import importing, nightly
from pipeline_assets.definitions import build_defs
from pipeline_assets.ingestion.keys import UPLOADS_PREFIX
from pipeline_assets.progress import TELL_EVERY_S
from resources import ledger, reconciliation
from resources.assembly import resolve
from resources.dagster_instance import open_instance
from resources.database import Database
from resources.errors import StoreUnavailable
from resources.lake import Lake
from resources.object_store import open_store
from resources.objects import Objects
from resources.run_processes import end_dead_runs
from resources.settings import Settings
from sensors.uploads import upload_day

LEDGER_BATCH = 5_000


def run_everything(settings: Settings, photos: str | None, days: int, today: date, console: Console) -> bool:
    """Import, materialize all that is not current, and print the summary. Returns whether every run succeeded."""
    started = time.monotonic()
    found = resolve(settings)
    postgres: Database = found["postgres"]
    uploads: Objects = found["uploads"]
    new = discover(postgres, uploads)
    is_empty = ledger.object_days(postgres, uploads.bucket).is_empty()
    if photos is not None or (is_empty and settings.embedded):
        import_source(settings, photos or importing.SAMPLE, days, today, console)
        new += discover(postgres, uploads)
    elif is_empty:
        console.print(
            f"{settings.uploads_url} holds no uploads yet. Put photos there, or import some: darkroom run --photos FOLDER. "
            f"The sample that comes along is --photos {importing.SAMPLE}."
        )
    console.print(f"Uploads bucket: {new:,} new object versions." if new else "Uploads bucket: nothing new.")
    launches = nightly.launches(ledger.upload_days(postgres, uploads.bucket), nightly.log_days(found["lake_bucket"]), today)
    ok, timings, speed = _launch_all(settings, found, launches, console)
    if not timings and ok:
        console.print("[green]Nothing has changed: every asset is current, and no run was needed.[/green]")
    print_summary(settings, found, timings, speed, console)
    console.print(f"Done in {time.monotonic() - started:.1f} s.")
    return ok


def _launch_all(
    settings: Settings, found: Mapping[str, Any], launches: Sequence[nightly.Launch], console: Console
) -> tuple[bool, dict[str, float], dict[str, float]]:
    """Run what is not current. Returns whether all went well, seconds by asset, and what classifying says of itself."""
    timings: dict[str, float] = {}
    speed: dict[str, float] = {}
    ok = True
    defs, instance = build_defs(settings), open_instance(settings)
    with instance, dagster_storage_reached():
        end_dead_runs(instance)
        for launch in launches:
            if not any(nightly.stale(found["postgres"], found, launch).values()):
                continue
            console.print(f"[bold]{', '.join(launch.assets)}[/bold]  {launch.first} to {launch.last}")
            result = nightly.execute(defs, instance, launch)
            timings |= nightly.durations(result)
            speed |= nightly.facts(result, "photo_classes")
            for step, reason in nightly.failures(result).items():
                console.print(f"[red]{step} failed:[/red] {reason}")
                ok = False
            if not result.success:
                ok = False
                break
    return ok, timings, speed


@contextmanager
def dagster_storage_reached() -> Iterator[None]:
    """Raise StoreUnavailable where Dagster can't write down what happens: its run ends there, whatever the step was."""
    try:
        yield
    except (sqlalchemy.exc.DBAPIError, DagsterPostgresException) as error:
        # As this run's connections are thrown away, each would say so with a traceback.
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        cause = error if isinstance(error, sqlalchemy.exc.DBAPIError) else error.__cause__
        said = str(getattr(cause, "orig", cause)).splitlines()[0]
        raise StoreUnavailable(
            "Dagster's database (DARKROOM_DAGSTER_POSTGRES_URL, else files in DAGSTER_HOME) went away or has no free "
            f"connection, and the run ended with it. What was committed is kept: run again. It said: {said}"
        ) from error


def import_source(
    settings: Settings,
    source: str,
    days: int,
    today: date,
    console: Console,
    files: Sequence[importing.File] | None = None,
) -> None:
    """Import the files of a source and say what was imported. files: those that it holds, where it is no folder of them."""
    found = resolve(settings)
    told = "the sample photos that come with scikit-image" if source == importing.SAMPLE else source
    console.print(f"Importing {told} ...")
    done = importing.import_files(
        source,
        importing.files_of(source, lambda url: open_store(settings, url)) if files is None else files,
        postgres=found["postgres"],
        uploads=found["uploads"].store,
        lake_bucket=found["lake_bucket"].store,
        days=days,
        today=today,
        tell=lambda line: None,
    )
    if not done.files:
        console.print(f"  nothing new: all {done.known:,} files were imported before.")
        return
    known = f", {done.known:,} were there already" if done.known else ""
    console.print(
        f"  {done.files:,} files uploaded as if on {done.first_day} to {done.last_day}{known}.\n"
        f"  Users, posting times and logs are SIMULATED: {done.users:,} users, {done.events:,} events "
        f"(and {done.malformed_lines} lines malformed on purpose)."
    )


def discover(postgres: Database, uploads: Objects) -> int:
    """List the whole uploads bucket into the ledger, a batch at a time. Returns how many versions were new."""
    listing = uploads.store.list("uploads/")
    new = 0
    while batch := list(islice(listing, LEDGER_BATCH)):
        new += len(ledger.enter(postgres, uploads, batch, upload_day))
    return new


def reconcile_bucket(settings: Settings, dry_run: bool, console: Console) -> None:
    """Walk all versions of the uploads bucket beside the ledger, and say what was found."""
    found = resolve(settings)
    began = told = time.monotonic()

    def tell(totals: reconciliation.Totals) -> None:
        nonlocal told
        if time.monotonic() - told > TELL_EVERY_S:
            told = time.monotonic()
            console.print(f"  {totals}, {totals.listed / (told - began):,.0f}/s")

    console.print(f"Walking all versions of {settings.uploads_url} ...")
    totals = reconciliation.reconcile(
        found["postgres"], found["uploads"], UPLOADS_PREFIX, upload_day, dry_run=dry_run, tell=tell
    )
    console.print(f"{totals}.")
    if dry_run:
        console.print("Nothing was changed: this was a dry run.")
    elif totals.entered:
        console.print("`darkroom run`, or the sensor under `darkroom ui`, computes the days of what entered.")


def _holdings(postgres: Database, lake: Lake) -> pl.DataFrame:
    """For each asset: days, rows, rows set aside (quarantined or rejected), newest day."""
    known = ledger.latest(postgres, nightly.ASSETS, date.min, date.max)
    rows = []
    for name in nightly.ASSETS:
        mine = known.filter(pl.col("asset") == name)
        aside = mine["rejected"].sum()
        if name == "raw_uploads" and lake.exists(name):
            aside += lake.scan(name).filter(pl.col("verdict") != "ok").select(pl.len()).collect().item()
        rows.append((name, mine.height, mine["rows"].sum(), aside, mine["day"].max()))
    return pl.DataFrame(rows, schema=["asset", "days", "rows", "set_aside", "newest"], orient="row")


def print_summary(
    settings: Settings, found: Mapping[str, Any], timings: Mapping[str, float], speed: Mapping[str, float], console: Console
) -> None:
    """Rows and quarantined per asset, speed, the model beside its baselines, and where to look next."""
    lake: Lake = found["lake"]
    grid = Grid("asset", "days", "rows", "quarantined", "seconds")
    for row in _holdings(found["postgres"], lake).iter_rows(named=True):
        took = f"{timings[row['asset']]:.1f}" if row["asset"] in timings else "-"
        grid.add_row(row["asset"], *(f"{row[c]:,}" for c in ("days", "rows", "set_aside")), took)
    console.print(grid)
    if speed.get("computed"):
        console.print(
            f"Classified {speed['computed']:,} photos at {speed['photos_per_s']:.0f} photos/s, loading the model included."
        )
    _print_model(lake, console)
    console.print(f"Tables:  {lake.uri('')}ASSET (Delta Lake){settings.lake_server}; state in {settings.home}")
    console.print("Look:    make ui   |   .venv/bin/darkroom show training_table   |   .venv/bin/darkroom status")


def _print_model(lake: Lake, console: Console) -> None:
    if not lake.exists("popularity_model"):
        return
    model = lake.scan("popularity_model").sort("day").tail(1).collect().row(0, named=True)
    grid = Grid(
        "popularity model", "R2", "Spearman", title=f"Night of {model['day']}, test split of {model['rows_test']} photos"
    )
    lines = (
        ("mean of the labels", "r2_mean", None),
        ("ridge on posting metadata", "r2_metadata", "spearman_metadata"),
        ("ridge on everything", "r2_ridge", "spearman_ridge"),
        ("the model", "r2", "spearman"),
        (f"the same without its {model['rows_variants']:,} variants", "r2_without_variants", "spearman_without_variants"),
        ("oracle (the simulator's own expectation)", "r2_oracle", "spearman_oracle"),
    )
    for name, r2, spearman in lines:
        if model[r2] is not None:
            rank = model[spearman] if spearman else None
            grid.add_row(name, f"{model[r2]:.3f}", "-" if rank is None else f"{rank:.3f}")
    console.print(grid)
