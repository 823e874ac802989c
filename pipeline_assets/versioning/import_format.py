"""What `darkroom import --format` does: a data set of another tool becomes a named version, or its files become uploads."""

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from functools import partial
from pathlib import Path

from rich.console import Console

from pipeline_assets.errors import ImportRefused
from pipeline_assets.held import held
from pipeline_assets.progress import TELL_EVERY_S
from pipeline_assets.versioning import commands
from pipeline_assets.versioning.bringing import REJECTED, ROWS, bring, spill, told
from pipeline_assets.versioning.formats import FORMATS
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected
from pipeline_assets.versioning.pins import reference
from pipeline_assets.versioning.reference import Reference
from pipeline_assets.versioning.repository import Repository
from resources.object_store import objects_url, open_store
from resources.settings import Settings


def import_version(
    settings: Settings,
    source: str,
    kind: str,
    reading: Reading,
    name: str,
    message: str,
    *,
    is_dirty_allowed: bool,
    console: Console,
) -> Reference:
    """Bring a data set into the store and name it: its files, `rows.parquet` with its rows, `rejected.parquet` if need be.

    Raises ImportRefused, PinRefused and NotARepository.
    """
    path = _local(source)
    repository = Repository.around(Path.cwd())
    label = commands.labelled(
        repository, name, message or f"Imported from {path.name} ({kind})", is_dirty_allowed=is_dirty_allowed
    )
    url = objects_url(settings)
    objects = open_store(settings, url)
    brought = bring(_telling(FORMATS[kind].load().batches(path, reading), console), objects)
    console.print(f"Read {brought.rows:,} rows (in {ROWS}).")
    _tell_aside(brought.reasons, console)
    if brought.reasons:
        console.print(f"Each is in {REJECTED} with its reason.")
    made = reference(label, brought.files, objects, {"objects": url})
    repository.write(made)
    return made


def import_uploads(
    settings: Settings, source: str, kind: str, reading: Reading, days: int, today: date, console: Console
) -> None:
    """Upload the files of a data set, as the import of a folder does; of its rows, labels are kept. Raises ImportRefused."""
    from pipeline_assets.importing import File
    from pipeline_assets.job import import_source

    path = _local(source)
    cache = settings.home / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="import-", dir=cache) as scratch:
        folder = Path(scratch)
        labels, reasons = spill(_telling(FORMATS[kind].load().batches(path, reading), console), folder)
        _tell_aside(reasons, console)
        files = [File(name, partial(held, folder / name), marked) for name, marked in labels.items()]
        import_source(settings, str(path), days, today, console, files)


def _local(source: str) -> Path:
    path = Path(source).expanduser()
    if "://" in source or not path.exists():
        raise ImportRefused(f"{source} is no file and no folder of this machine: copy it here first, or mount it.")
    return path.resolve()


def _telling(batches: Iterable[Batch | Rejected], console: Console) -> Iterator[Batch | Rejected]:
    """The batches, with a line every few seconds on how many rows are through."""
    began = told_at = time.monotonic()
    rows = 0
    for batch in batches:
        yield batch
        rows += batch.rows.height if isinstance(batch, Batch) else 0
        now = time.monotonic()
        if now - told_at > TELL_EVERY_S:
            told_at = now
            console.print(f"  {rows:,} rows read, {rows / (now - began):,.0f}/s")


def _tell_aside(reasons: Counter[str], console: Console) -> None:
    if reasons:
        console.print(f"[yellow]Kept aside: {reasons.total():,} ({told(reasons)}).[/yellow]")
