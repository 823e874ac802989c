"""Removes old stagings, which can be recreated from the tables. Only files of `staging.py` are ever removed."""

import json
import re
from collections.abc import Collection
from pathlib import Path

from pipeline_assets.training.shards.staging import JOURNAL, LOCK, MANIFEST, MARKER, TEMPORARY
from pipeline_assets.training.shards.staging_plan import FORMAT

_OURS = re.compile(
    rf"[a-z]+-[0-9]{{5,}}\.arrow|{re.escape(TEMPORARY)}.*|" + "|".join(map(re.escape, (JOURNAL, MANIFEST, LOCK)))
)


def prune(root: Path, *, keep: int, protect: Collection[str] = (), dry_run: bool = False) -> list[Path]:
    """Remove all but the `keep` newest stagings under `root`; returns those removed, newest first.

    Newest is by the last use of a staging (its manifest's time, or its marker's if it is incomplete). Names in `protect`
    stay and do not count. Folders without our marker, links, and files with other names are left alone. With `dry_run`
    nothing is removed; the list has what would be.
    Raises ValueError if `keep` is negative.
    """
    if keep < 0:
        raise ValueError(f"keep={keep}: use the number of stagings to keep, 0 or more")
    folders = root.iterdir() if root.is_dir() else ()
    stagings = sorted((f for f in folders if _is_ours(f) and f.name not in protect), key=_last_use, reverse=True)
    obsolete = stagings[keep:]
    if not dry_run:
        for staging in obsolete:
            _remove(staging)
    return obsolete


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
    # Manifest first and marker last: after a kill, the rest is an incomplete staging of ours and still removable.
    (staging / MANIFEST).unlink(missing_ok=True)
    for path in sorted(staging.iterdir()):
        if _OURS.fullmatch(path.name) and not path.is_dir():
            path.unlink()
    (staging / MARKER).unlink()
    if not any(staging.iterdir()):
        staging.rmdir()
