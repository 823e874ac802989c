"""The functions behind `darkroom import --format`: another tool's data set becomes a named version, or uploads."""

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from functools import partial
from pathlib import Path

from pipeline_assets.errors import ImportRefused
from pipeline_assets.runtime.blobs import read_or_path
from pipeline_assets.runtime.progress import REPORT_EVERY_S
from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.runtime.visible import one_line
from pipeline_assets.versioning.formats import FORMATS
from pipeline_assets.versioning.formats.incoming import Batch, Reading, Rejected
from pipeline_assets.versioning.formats.storing import REJECTED, ROWS, counts_text, store_batches, write_files
from pipeline_assets.versioning.pin import commands
from pipeline_assets.versioning.pin.pins import reference
from pipeline_assets.versioning.pin.reference import Reference
from pipeline_assets.versioning.pin.repository import Repository
from resources.objects.store import objects_url, open_store
from resources.settings import Settings

MAX_PRINTED = 20
"""Limit of rejected items that an import of uploads prints; all are counted."""


def import_version(
    settings: Settings,
    source: str,
    kind: str,
    reading: Reading,
    name: str,
    message: str,
    *,
    is_dirty_allowed: bool,
    console: Terminal,
) -> Reference:
    """Store a data set and pin it: its files, `rows.parquet` with its rows, and `rejected.parquet` if any were rejected.

    Raises ImportRefused, PinRefused and NotARepository.
    """
    path = _local(source)
    repository = Repository.around(Path.cwd())
    label = commands.labelled(
        repository, name, message or f"Imported from {path.name} ({kind})", is_dirty_allowed=is_dirty_allowed
    )
    url = objects_url(settings)
    objects = open_store(settings, url)
    imported = store_batches(_with_progress(FORMATS[kind].load().batches(path, reading), console), objects)
    console.print(f"Read {imported.rows:,} rows (in {ROWS}).")
    _print_rejected(imported.reasons, console)
    if imported.reasons:
        console.print(f"Each is in {REJECTED} with its reason.")
    pinned = reference(label, imported.files, objects, {"objects": url})
    repository.write(pinned)
    return pinned


def import_uploads(
    settings: Settings, source: str, kind: str, reading: Reading, days: int, today: date, console: Terminal
) -> None:
    """Upload the files of a data set with their labels, as the import of a folder does. Raises ImportRefused."""
    from pipeline_assets.sample.importing import File
    from pipeline_assets.sample.uploading import import_source

    path = _local(source)
    cache = settings.home / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="import-", dir=cache) as scratch:
        folder = Path(scratch)
        labels, reasons = write_files(
            _with_progress(_with_rejections(FORMATS[kind].load().batches(path, reading), console), console), folder
        )
        _print_rejected(reasons, console)
        files = [File(name, partial(read_or_path, folder / name), marked) for name, marked in labels.items()]
        import_source(settings, str(path), days, today, console, files)


def _local(source: str) -> Path:
    path = Path(source).expanduser()
    if "://" in source or not path.exists():
        raise ImportRefused(f"{source} is neither a file nor a folder of this machine: copy it here first, or mount it.")
    return path.resolve()


def _with_rejections(batches: Iterable[Batch | Rejected], console: Terminal) -> Iterator[Batch | Rejected]:
    """Pass on the batches, and print the first rejected items."""
    lines_left = MAX_PRINTED
    for batch in batches:
        if isinstance(batch, Rejected) and lines_left:
            lines_left -= 1
            console.print(one_line(f"  {batch.source}: {batch.reason}: {batch.detail[:200]}"))
        yield batch


def _with_progress(batches: Iterable[Batch | Rejected], console: Terminal) -> Iterator[Batch | Rejected]:
    """Pass on the batches, and print the number of rows every few seconds."""
    started_at = printed_at = time.monotonic()
    rows = 0
    for batch in batches:
        yield batch
        rows += batch.rows.height if isinstance(batch, Batch) else 0
        now = time.monotonic()
        if now - printed_at > REPORT_EVERY_S:
            printed_at = now
            console.print(f"  {rows:,} rows read, {rows / (now - started_at):,.0f}/s")


def _print_rejected(reasons: Counter[str], console: Terminal) -> None:
    if reasons:
        console.print(one_line(f"Kept aside: {reasons.total():,} ({counts_text(reasons)})."), style="yellow")
