"""Removal of old stagings, which the tables can always give again. Only what `staging.py` wrote is ever removed."""

import json
import re
from collections.abc import Collection
from pathlib import Path

from pipeline_assets.training.staging import JOURNAL, LOCK, MANIFEST, MARKER, TEMPORARY
from pipeline_assets.training.staging_plan import FORMAT

_OURS = re.compile(
    rf"[a-z]+-[0-9]{{5,}}\.arrow|{re.escape(TEMPORARY)}.*|" + "|".join(map(re.escape, (JOURNAL, MANIFEST, LOCK)))
)


def prune(root: Path, *, keep: int, protect: Collection[str] = (), dry_run: bool = False) -> list[Path]:
    """Remove all but the `keep` newest stagings under `root`; returns those removed, newest first.

    Newest is by when a staging was last asked for (its manifest's time, or its marker's if it is incomplete). Names in
    `protect` stay and do not count. A folder without our marker, a link, and any file of another name are left alone.
    With `dry_run` nothing is touched and the list says what would go.
    Raises ValueError if `keep` is negative.
    """
    if keep < 0:
        raise ValueError(f"keep={keep}: give the number of stagings to keep, 0 or more")
    folders = root.iterdir() if root.is_dir() else ()
    stagings = sorted((f for f in folders if _is_ours(f) and f.name not in protect), key=_last_use, reverse=True)
    doomed = stagings[keep:]
    if not dry_run:
        for staging in doomed:
            _remove(staging)
    return doomed


def _is_ours(folder: Path) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return False
    try:
        marker = json.loads((folder / MARKER).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(marker, dict) and marker.get("format") == FORMAT


def _last_use(staging: Path) -> tuple[int, str]:
    manifest = staging / MANIFEST
    return (manifest if manifest.exists() else staging / MARKER).stat().st_mtime_ns, staging.name


def _remove(staging: Path) -> None:
    # Manifest first and marker last: cut short, the rest is an incomplete staging of ours, removable like any other.
    (staging / MANIFEST).unlink(missing_ok=True)
    for path in sorted(staging.iterdir()):
        if _OURS.fullmatch(path.name) and not path.is_dir():
            path.unlink()
    (staging / MARKER).unlink()
    if not any(staging.iterdir()):
        staging.rmdir()
