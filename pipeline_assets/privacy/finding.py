"""What is held of a person, place by place: counts, or a copy in a folder that needs no program but a browser."""

import hashlib
import html
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import polars as pl

from pipeline_assets.errors import ExportRefused, UnknownPerson
from pipeline_assets.ingestion.keys import safe_name
from pipeline_assets.privacy.holding import VERSION, Holding, Stores
from pipeline_assets.privacy.identity import identify
from pipeline_assets.privacy.person import Person
from pipeline_assets.privacy.places import PLACES, Place
from resources import files

MARKER, INDEX = "person.json", "index.html"
"""Written first: whose copy a folder has. Written last: a folder without it is not complete."""
_ENDINGS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"PAR1": ".parquet", b"GIF8": ".gif"}
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
Tell = Callable[[str], object]


@dataclass(frozen=True)
class Held:
    """What one place holds. count: of the person, parts: the same by table, file or object; mentions: rows of others."""

    place: str
    count: int
    mentions: int
    parts: dict[str, int]


def find(stores: Stores, user_id: int, tell: Tell) -> list[Held]:
    """What each place holds of a person; places without anything too. Raises UnknownPerson."""
    person = identify(stores, user_id)
    return _known([_held(place, place.holdings(stores, person), tell) for place in PLACES], person)


def _held(place: Place, holdings: Iterator[Holding], tell: Tell) -> Held:
    tell(f"Looking at {place.name} ...")
    parts: dict[str, int] = {}
    mentions = 0
    for holding in holdings:
        parts[holding.name] = parts.get(holding.name, 0) + holding.count
        mentions += holding.mentions
    return Held(place.name, sum(parts.values()), mentions, parts)


def _known(found: list[Held], person: Person) -> list[Held]:
    if not any(held.count for held in found):
        raise UnknownPerson(
            f"Nothing is held of the user {person.user_id}, in none of {len(PLACES)} places. Use the id of the table users, "
            "which upload keys have, too: uploads/DAY/USER/NAME."
        )
    return found


def export(stores: Stores, user_id: int, folder: Path, now: datetime, tell: Tell) -> list[Held]:
    """Write a copy of what is held of a person, and an index.html of it. Returns the counts, which equal those of `find`.

    Called again after a kill, it continues: files that are there are not read again. Raises ExportRefused for a complete
    copy, which is that of its day, and for a folder with anything else; and UnknownPerson.
    """
    person = identify(stores, user_id)
    _begin(folder, user_id)
    found = []
    for place in PLACES:
        copies = _copied(place.holdings(stores, person), folder / place.name.replace(" ", "-"))
        found.append(_held(place, copies, tell))
    try:
        _known(found, person)
    except UnknownPerson:
        if [path.name for path in folder.iterdir()] == [MARKER]:  # otherwise it is a part of an earlier copy
            (folder / MARKER).unlink()
            folder.rmdir()
        raise
    counts = [vars(held) for held in found]
    files.write(folder / MARKER, json.dumps({"user_id": user_id, "places": counts}, indent=1), mode=0o600)
    files.write(folder / INDEX, _index(folder, user_id, found, now), mode=0o600, is_synced=True)
    return found


def _begin(folder: Path, user_id: int) -> None:
    """Make the folder ours. Raises ExportRefused."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    marker = folder / MARKER
    try:
        is_ours = json.loads(marker.read_text(encoding="utf-8"))["user_id"] == user_id
    except (OSError, ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours and any(folder.iterdir()):
        raise ExportRefused(f"{folder} has files that are no copy of this person's data: name a new or an empty folder.")
    if (folder / INDEX).exists():
        raise ExportRefused(f"{folder} has a complete copy of this person's data: name a new or an empty folder.")
    if not is_ours:
        folder.chmod(0o700)
        files.write(marker, json.dumps({"user_id": user_id}), mode=0o600, is_synced=True)


def _copied(holdings: Iterator[Holding], folder: Path) -> Iterator[Holding]:
    """The same holdings, each after its copy was written."""
    for holding in holdings:
        has_rows = holding.rows is not None and holding.rows.height > 0
        if has_rows or holding.read is not None:
            folder.mkdir(mode=0o700, exist_ok=True)
        if holding.rows is not None and has_rows:
            files.write(folder / f"{safe_name(holding.name)}.json", _json(holding.rows), mode=0o600)
        if holding.read is not None and not any(folder.glob(f"{_digest(holding.name)} *")):
            data = holding.read()
            files.write(folder / _file_name(holding.name, data), data, mode=0o600)
        yield holding


def _json(rows: pl.DataFrame) -> str:
    binary = [pl.col(name).bin.encode("hex") for name, dtype in rows.schema.items() if dtype == pl.Binary]
    return "[" + ",\n".join(rows.with_columns(binary).write_ndjson().splitlines()) + "]\n"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _file_name(name: str, data: bytes) -> str:
    """A digest, so that equal names of two days or versions are two files, and the name by which the person knows it."""
    base = safe_name(name.partition(VERSION)[0].rpartition("/")[2])
    ending = "" if "." in base else next((end for head, end in _ENDINGS.items() if data.startswith(head)), "")
    return f"{_digest(name)} {base}{ending}"


def _index(folder: Path, user_id: int, found: list[Held], now: datetime) -> str:
    """A page with a section for each place: what lies there, how much of the person, and links to the copies."""
    about = {place.name: place for place in PLACES}
    sections = []
    for held in found:
        place, below = about[held.place], folder / held.place.replace(" ", "-")
        copies = sorted(below.iterdir()) if below.is_dir() else []
        links = "".join(_link(copy) for copy in copies if not copy.name.startswith("."))
        listed = "" if copies else "".join(f"<li>{html.escape(name)}: {count:,}</li>" for name, count in held.parts.items())
        mentions = f", and {held.mentions:,} rows of other people name them, which are not copied" if held.mentions else ""
        what = f"<h2>{html.escape(place.name)}</h2><p>{html.escape(place.what)}: {held.count:,}{mentions}.</p>"
        sections.append(f"{what}<ul>{links}{listed}</ul>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>A person\'s data</title>'
        "<style>body{font:16px sans-serif;max-width:50em;margin:2em auto}img{max-width:12em;display:block}</style>"
        f"<h1>What is held of the user {user_id}</h1><p>As of {now:%Y-%m-%d %H:%M} UTC. Files are as they were uploaded; "
        "tables are JSON, which any text editor opens. Ids and keys of other people are left out.</p>"
        + "".join(sections)
        + "</html>\n"
    )


def _link(copy: Path) -> str:
    address, name = quote(f"{copy.parent.name}/{copy.name}"), html.escape(copy.name)
    picture = f'<img src="{address}" loading="lazy" alt="">' if copy.suffix.lower() in _PICTURES else ""
    return f'<li>{picture}<a href="{address}">{name}</a></li>'
