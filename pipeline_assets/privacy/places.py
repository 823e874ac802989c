"""The registry of places where data of a person lie. A new place is an entry here; docs/privacy.md is made from it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline_assets.privacy import databases, local, stored
from pipeline_assets.privacy.holding import Holding, Stores
from pipeline_assets.privacy.person import Person


@dataclass(frozen=True)
class Place:
    """A place. what: a sentence for a person; found_by: what leads to their data; copy: what a copy for them has of it.

    holdings: yields what the place holds of a person, in the same order each time, with one file in memory.
    """

    name: str
    what: str
    found_by: str
    copy: str
    holdings: Callable[[Stores, Person], Iterator[Holding]]


LISTED = "names and counts"
PLACES = (
    Place("application", "tables of the application's database", "ids, key, hash, pseudonym", "rows", databases.application),
    Place("uploads", "uploaded files with all versions, and delete markers", "user id in the key", "files", stored.uploads),
    Place("event logs", "lines of `events/` in the lake", "ids, key", "lines", stored.logs),
    Place("serving log", "lines of `serving/` in the lake", "ids, hash", "lines", stored.asks),
    Place("tables", "rows in all data files of all tables, also of old versions", "declared columns", "rows", stored.tables),
    Place("table logs", "lines of `_delta_log/`: statistics of an older Darkroom", "any text", LISTED, stored.table_logs),
    Place("contents", "variants, rows of stored results, and manifests", "hash, key", "files, rows", stored.contents),
    Place("packs", "variants inside larger objects", "hash", "files, rows", stored.packs),
    Place("models", "models that were trained on rows of the person", "window of the pin", LISTED, stored.models),
    Place("online store", "states of the user and of photos, in all generations", "ids", "packed", databases.online),
    Place("Dagster", "runs, events and keys in Dagster's database", "any text", LISTED, databases.dagster),
    Place("run logs", "what runs printed, in the lake", "any text", LISTED, stored.run_logs),
    Place("labeling tools", "questions that a tool was sent", "key", "rows", databases.labeling_tools),
    Place("stream", "journal, dead letters, and asks that wait for the lake", "ids, hash", "lines", local.journals),
    Place("stagings", "staged training sets on this machine", "photo id", "rows", local.stagings),
    Place("cache", "files and thumbnails that checkouts and pages share", "hash", "files, rows", local.cache),
    Place("vectors", "vectors of photos, mapped into memory", "hash", LISTED, local.vectors),
    Place("checkouts", "files and rows in registered checkouts", "hash, declared columns", "files, rows", local.checkouts),
    Place("server logs", "logs of servers and runs on this machine", "any text", LISTED, local.servers),
)


def inventory() -> str:
    """The places as a table of docs/privacy.md."""
    lines = ["| place | what lies there | found by | in a copy for the person |", "| --- | --- | --- | --- |"]
    lines += [f"| {place.name} | {place.what} | {place.found_by} | {place.copy} |" for place in PLACES]
    return "\n".join(lines)
