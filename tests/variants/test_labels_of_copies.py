"""The same bytes with other labels, on two days: bytes may be shared, labels never, for any kind and in any run."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import permutations
from typing import Any

import polars as pl
import pytest
from photo_parents import encoded as photo_bytes
from photo_parents import textured
from table_frames import users

from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.variants.engine.making import variants_of
from pipeline_assets.variants.engine.sources import SOURCES, fetch_from
from pipeline_assets.variants.tables.frames import write_table
from resources.database.contract import Database
from resources.objects.results import Results
from resources.objects.store import ObjectStore
from resources.variant_policy import KindPolicy
from tests.variants.clips import flashes
from tests.variants.test_speech_kind import encoded as sound_bytes
from tests.variants.test_speech_kind import tones

FIRST, SECOND, THIRD = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)
DAYS = (FIRST, SECOND, THIRD)
TEXT = b"a quiet street beside the old harbour"


def box(x: int) -> dict[str, Any]:
    return {"boxes": [{"x": x, "y": 20, "width": 24, "height": 24, "label": f"at {x}"}]}


def segment(start_s: float) -> dict[str, Any]:
    return {"segments": [{"start_s": start_s, "end_s": start_s + 0.2, "text": f"at {start_s}"}]}


def span(text: str) -> dict[str, Any]:
    start = TEXT.decode().index(text)
    return {"spans": [{"start": start, "end": start + len(text), "text": text, "label": "x"}]}


def keys(*names: str) -> dict[str, Any]:
    return {"keys": list(names)}


CASES: dict[str, tuple[list[bytes], list[dict[str, Any]]]] = {
    "photos": ([photo_bytes(textured(seed)) for seed in range(2)], [box(10), box(50), {}]),
    "speech": ([sound_bytes(tones(seed)) for seed in range(2)], [segment(0.1), segment(0.5), {}]),
    "video": ([flashes(seconds=0.6, at_s=(at,)) for at in (0.1, 0.3)], [segment(0.1), segment(0.3), {}]),
    "text": ([TEXT, TEXT + b" at noon"], [span("street"), span("harbour"), {}]),
    "tables": ([write_table(users(60, seed)) for seed in range(2)], [keys("day", "user_id"), keys("user_id"), {}]),
}
"""By kind: contents that come on each of three days, and the labels that each day gives to all of them."""


def parents(kind: str, days: Sequence[date]) -> pl.DataFrame:
    contents, labels = CASES[kind]
    rows = [
        {
            "day": day,
            "sha256": hashlib.sha256(data).hexdigest(),
            "source": f"item {number}",
            "split": "train",
            "labels_json": json.dumps(labels[DAYS.index(day)]),
            "phash": None,
            "data": data,
        }
        for day in days
        for number, data in enumerate(contents)
    ]
    return pl.DataFrame(rows, schema_overrides={"phash": pl.String, "data": pl.Binary})


def run(kind: str, days: Sequence[date], results: Results, recipes: list[str]) -> Table:
    source, found = SOURCES[kind], parents(kind, days)
    of_days = RunOfDays(source.asset, tuple(sorted(days)), "code", "run", logging.getLogger("test"))
    policy = KindPolicy(children=len(recipes), recipes=recipes)
    return variants_of(of_days, source.kind, source.schema, found, fetch_from(found, results.store), results, policy, 0)


def labels_of(table: Table) -> dict[tuple[date, str, str], str]:
    assert isinstance(table.rows, pl.DataFrame)
    return {row[:3]: row[3] for row in table.rows.select("day", "source", "recipe", "labels_json").iter_rows()}


def fresh(results: Results) -> Results:
    results.database.execute("delete from results", ())
    return results


def recipes_of(kind: str) -> list[str]:
    """All of them; of clips those that mix two and one that doesn't, since each takes a while."""
    return ["faster", "concatenate", "picture_in_picture"] if kind == "video" else list(SOURCES[kind].kind.recipes)


@pytest.fixture
def results(database: Database, object_store: Callable[[str], ObjectStore]) -> Iterator[Results]:
    yield Results(database, object_store("folder"))


def test_every_kind_with_labels_is_tried() -> None:
    assert set(CASES) == set(SOURCES) - {"receipts"}, "templates of receipts have no labels"


@pytest.mark.slow
@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", CASES)
def test_each_day_has_its_own_labels_whatever_is_made_beside_it_or_was_made_before(kind: str, results: Results) -> None:
    recipes = recipes_of(kind)
    alone = {key: told for day in DAYS for key, told in labels_of(run(kind, [day], fresh(results), recipes)).items()}
    assert len(set(alone.values())) >= len(DAYS)
    orders = [DAYS, DAYS[::-1]] if kind == "tables" else list(permutations(DAYS))  # each fit of a table takes a second
    for order in orders:
        assert labels_of(run(kind, order, fresh(results), recipes)) == alone
    for order in orders:
        fresh(results)
        one_by_one = {key: told for day in order for key, told in labels_of(run(kind, [day], results, recipes)).items()}
        assert one_by_one == alone == labels_of(run(kind, DAYS, results, recipes))
