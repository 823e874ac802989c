"""Staleness: exactly the days whose inputs, code, model or settings changed, whatever reads them; and why."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.framework import recomputing, staleness
from pipeline_assets.framework.staleness import ENTRY, Ledger, Rule, with_windows
from resources.database.ledger import digest_of

START = date(2026, 1, 1)
REACH = 9
"""Days of the small worlds below."""


def day(number: int) -> date:
    return START + timedelta(days=number)


def rule(code: str = "1", windows: Mapping[str, tuple[int, int]] | None = None, **parts: Mapping[str, str]) -> Rule:
    """A rule with its parts; `has_source` where it reads nothing of the lake."""
    made = with_windows({"code": {"function": code}, **parts}, windows or {})
    return Rule(json.dumps([code, parts]), made, windows or {}, has_source=not windows)


@dataclass
class World:
    """A ledger as runs write it, day by day and slowly: what staleness is judged against."""

    rules: dict[str, Rule]
    outside: dict[str, dict[date, str]] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)

    def newest(self, asset: str, of: date) -> dict[str, Any] | None:
        return next((e for e in reversed(self.entries) if e["asset"] == asset and e["day"] == of), None)

    def inputs(self, asset: str, of: date) -> dict[str, str]:
        """What the seam has always recorded: for each input a digest over `day digest` of the days that are there."""
        found = {}
        if self.rules[asset].has_source:
            found["outside"] = self.outside.get(asset, {}).get(of, "nothing")
        for name, (first, last) in self.rules[asset].windows.items():
            days = [of + timedelta(days=offset) for offset in range(first, last + 1)]
            there = [(one, self.newest(name, one)) for one in days]
            found[name] = digest_of(f"{one} {entry['digest']}" for one, entry in there if entry)
        return found

    def inputs_digest(self, asset: str, of: date) -> str:
        return digest_of(f"{name} {digest}" for name, digest in sorted(self.inputs(asset, of).items()))

    def compute(self, asset: str, of: date, digest: str | None = None, *, with_parts: bool = True) -> None:
        """Record a day as computed now; its rows follow from its inputs unless a digest is given."""
        declared, inputs = self.rules[asset], self.inputs(asset, of)
        before = self.newest(asset, of)
        made = digest or digest_of([asset, str(of), *inputs.values()])
        number = len(self.entries) + 1
        self.entries.append(
            {
                "asset": asset,
                "day": of,
                "id": number,
                "since_id": before["since_id"] if before and before["digest"] == made else number,
                "digest": made,
                "code_version": declared.code_version,
                "parts": json.dumps(declared.parts) if with_parts else None,
                "inputs": json.dumps(inputs),
                "inputs_digest": self.inputs_digest(asset, of),
            }
        )

    def begin(self, asset: str, of: date) -> None:
        """Mark a day as about to be replaced."""
        empty = {"digest": "", "code_version": "", "inputs": "{}", "inputs_digest": "", "parts": None}
        number = len(self.entries) + 1
        self.entries.append({"asset": asset, "day": of, "id": number, "since_id": number, **empty})

    def frame(self) -> pl.DataFrame:
        """The newest entries, as `ledger.latest` gives them."""
        newest = {(entry["asset"], entry["day"]): entry for entry in self.entries}
        return pl.DataFrame(list(newest.values()), schema=ENTRY)

    def survey(self, wanted: Mapping[str, list[date]]) -> dict[tuple[str, date], tuple[str, str]]:
        """The stale days, each with reason and detail."""
        found = staleness.survey(self.rules, wanted, self.frame(), self.outside)
        assert found.height == sum(len(set(days)) for days in wanted.values())
        stale = found.filter(pl.col("reason").is_not_null())
        return {(asset, of): (reason, detail) for asset, of, reason, detail in stale.iter_rows()}

    def slow(self, wanted: Mapping[str, list[date]]) -> dict[tuple[str, date], str]:
        """The same by looking at every day of every window, one after the other."""
        found: dict[tuple[str, date], str] = {}
        for asset in staleness.order(self.rules):
            declared = self.rules[asset]
            for of in wanted[asset]:
                entry = self.newest(asset, of)
                same_day = [name for name, window in declared.windows.items() if window == (0, 0)]
                reads = {
                    (name, of + timedelta(days=offset))
                    for name, (first, last) in declared.windows.items()
                    for offset in range(first, last + 1)
                }
                if any(self.newest(name, of) is None for name in same_day):
                    found[asset, of] = "waiting"
                elif entry is None or not entry["digest"]:
                    found[asset, of] = "new"
                elif entry["code_version"] != declared.code_version:
                    found[asset, of] = "code"
                elif entry["inputs_digest"] != self.inputs_digest(asset, of):
                    found[asset, of] = "data"
                elif any(one in found for one in reads):
                    found[asset, of] = "upstream"
        return found


names = ["a", "b", "c", "d"]
offsets = st.tuples(st.integers(-3, 0), st.integers(0, 2))
days = st.lists(st.integers(0, REACH), max_size=REACH).map(lambda found: [day(number) for number in found])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, dict[str, list[date]]]:
    """Up to four assets that read earlier ones over any windows, after a history of runs, kills and changes."""
    rules: dict[str, Rule] = {}
    for number, name in enumerate(names):
        above = draw(st.lists(st.sampled_from(names[:number]), unique=True)) if number else []
        rules[name] = rule(windows={up: draw(st.just((0, 0)) | offsets) for up in above})
    world = World(rules, {name: {} for name in names})
    for _ in range(draw(st.integers(0, 25))):
        name, of = draw(st.sampled_from(names)), day(draw(st.integers(0, REACH)))
        match draw(st.sampled_from(["compute", "compute", "compute", "rows", "outside", "begin", "code"])):
            case "compute":
                world.compute(name, of)
            case "rows":
                world.compute(name, of, draw(st.sampled_from("xyz")), with_parts=draw(st.booleans()))
            case "outside":
                world.outside[name][of] = draw(st.sampled_from("pq"))
            case "begin":
                world.begin(name, of)
            case "code":
                world.rules[name] = rule(draw(st.sampled_from("12")), world.rules[name].windows)
    return world, {name: draw(days) for name in names}


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(worlds())
def test_the_stale_days_and_their_reasons_are_those_of_a_slow_look_at_every_day(
    found: tuple[World, dict[str, list[date]]],
) -> None:
    world, wanted = found
    assert {one: reason for one, (reason, _) in world.survey(wanted).items()} == world.slow(wanted)


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(worlds())
def test_computing_what_can_be_computed_in_order_leaves_only_what_waits(
    found: tuple[World, dict[str, list[date]]],
) -> None:
    world, wanted = found
    judged = staleness.survey(world.rules, wanted, world.frame(), world.outside)
    stale = judged.filter(pl.col("reason").is_not_null())
    for asset, of in recomputing.computable(stale, world.rules, world.frame()).select("asset", "day").iter_rows():
        world.compute(asset, of)
    assert {reason for reason, _ in world.survey(wanted).values()} <= {"waiting", "upstream"}
    waiting = {one for one, (reason, _) in world.survey(wanted).items() if reason == "waiting"}
    assert bool(waiting) == bool(world.survey(wanted))


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(worlds(), st.sampled_from(names), days)
def test_what_a_stale_day_needs_is_every_stale_day_that_it_reads_and_no_other(
    found: tuple[World, dict[str, list[date]]], asset: str, asked: list[date]
) -> None:
    world, wanted = found
    judged = staleness.survey(world.rules, wanted, world.frame(), world.outside)
    stale = set(judged.filter(pl.col("reason").is_not_null()).select("asset", "day").iter_rows())
    expected, queue = set(), [(asset, of) for of in asked if (asset, of) in stale]
    while queue:
        expected.add(one := queue.pop())
        for name, (first, last) in world.rules[one[0]].windows.items():
            reads = {(name, one[1] + timedelta(days=offset)) for offset in range(first, last + 1)}
            queue += (reads & stale) - expected
    needed = recomputing.needed(judged, world.rules, [asset], asked)
    assert set(needed.select("asset", "day").iter_rows()) == expected


@pytest.mark.slow
def test_of_ten_thousand_days_one_changed_makes_exactly_its_readers_stale() -> None:
    every = [day(number) for number in range(10_000)]
    world = World(
        {"photos": rule(), "features": rule(windows={"photos": (-30, 8)}), "all": rule(windows={"photos": (0, 0)})}
    )
    lines = {of: f"{of} {digest_of(['photos', str(of)])}" for of in every}
    entries = []
    for number, of in enumerate(every):  # `World.compute` looks at all of the past
        entries.append(("photos", of, number, digest_of(["photos", str(of)]), {"outside": "nothing"}))
    for name, (first, last) in (("features", (-30, 8)), ("all", (0, 0))):
        for number, of in enumerate(every):
            read = every[max(0, number + first) : number + last + 1]
            entries.append((name, of, 10_000 + number, "x", {"photos": digest_of(lines[one] for one in read)}))
    frame = pl.DataFrame(
        [
            {
                "asset": name,
                "day": of,
                "id": number,
                "since_id": number,
                "digest": digest,
                "code_version": world.rules[name].code_version,
                "parts": json.dumps(world.rules[name].parts),
                "inputs": json.dumps(inputs),
                "inputs_digest": digest_of(f"{key} {value}" for key, value in sorted(inputs.items())),
            }
            for name, of, number, digest, inputs in entries
        ],
        schema=ENTRY,
    )
    wanted = dict.fromkeys(world.rules, every)
    assert staleness.survey(world.rules, wanted, frame, {})["reason"].null_count() == 30_000
    changed = (pl.col("asset") == "photos") & (pl.col("day") == every[5000])
    frame = frame.with_columns(
        digest=pl.when(changed).then(pl.lit("other")).otherwise("digest"),
        since_id=pl.when(changed).then(30_000).otherwise("since_id"),
    )
    found = staleness.survey(world.rules, wanted, frame, {}).filter(pl.col("reason").is_not_null())
    assert set(found["reason"]) == {"data"}
    assert set(found["detail"]) == {f"photos {every[5000]} changed"}
    assert found.filter(pl.col("asset") == "features")["day"].to_list() == every[4992:5031]
    assert found.filter(pl.col("asset") == "all")["day"].to_list() == [every[5000]]


GRAPH = {
    "raw": rule(),
    "classes": rule(windows={"raw": (0, 0)}, model={"classifier": "lite0"}),
    "styles": rule(windows={"raw": (0, 0)}),
    "training": rule(windows={"classes": (0, 0), "styles": (0, 0)}),
    "staged": rule(windows={"training": (-2, 0)}, config={"shard_rows": "100"}),
}
FIVE = [day(number) for number in range(5)]


def current() -> World:
    """Five days of a graph like ours, all current."""
    world = World(dict(GRAPH))
    for asset in GRAPH:
        for of in FIVE:
            world.compute(asset, of)
    assert world.survey(dict.fromkeys(GRAPH, FIVE)) == {}
    return world


def told(world: World) -> dict[str, dict[int, tuple[str, str]]]:
    """By asset the stale days, by their number."""
    found: dict[str, dict[int, tuple[str, str]]] = {}
    for (asset, of), reason in world.survey(dict.fromkeys(GRAPH, FIVE)).items():
        found.setdefault(asset, {})[(of - START).days] = reason
    return found


def test_another_model_makes_its_own_assets_days_stale_and_leaves_its_siblings_current() -> None:
    world = current()
    world.rules["classes"] = rule(windows={"raw": (0, 0)}, model={"classifier": "lite4"})
    found = told(world)
    assert set(found) == {"classes", "training", "staged"}
    assert set(found["classes"].values()) == {("model", "model classifier lite0 -> lite4")}
    assert found["training"][1] == ("upstream", "classes 2026-01-02 not current")
    assert found["staged"][4] == ("upstream", "training 2026-01-03 and 2 more days not current")


def test_another_window_is_a_setting_and_leaves_what_is_read_current() -> None:
    world = current()
    world.rules["staged"] = rule(windows={"training": (-1, 0)}, config={"shard_rows": "100"})
    world.rules["staged"] = replace(world.rules["staged"], code_version=GRAPH["staged"].code_version)
    found = told(world)
    assert set(found) == {"staged"}
    # The first two days read the same: before them there is nothing.
    assert found["staged"] == dict.fromkeys([2, 3, 4], ("config", "config days of training -2..0 -> -1..0"))


def test_another_setting_is_named_with_both_its_values() -> None:
    world = current()
    world.rules["staged"] = rule(windows={"training": (-2, 0)}, config={"shard_rows": "200"})
    assert told(world) == {"staged": dict.fromkeys(range(5), ("config", "config shard_rows 100 -> 200"))}


def test_other_code_names_the_part_and_counts_before_model_and_settings() -> None:
    world = current()
    world.rules["classes"] = rule("2", windows={"raw": (0, 0)}, model={"classifier": "lite4"})
    assert told(world)["classes"][0] == ("code", "code of classes (function); model classifier lite0 -> lite4")


def test_changed_rows_name_the_day_and_a_source_says_so() -> None:
    world = current()
    world.outside["raw"] = {day(2): "another"}
    assert told(world)["raw"] == {2: ("data", "what it reads outside changed")}
    world.compute("raw", day(2))
    found = told(world)
    assert found["classes"] == {2: ("data", "raw 2026-01-03 changed")} == found["styles"]
    for asset in ("classes", "styles"):
        world.compute(asset, day(2))
    assert told(world)["training"] == {2: ("data", "classes 2026-01-03 changed; styles 2026-01-03 changed")}


def test_rows_that_come_out_the_same_make_nothing_stale() -> None:
    world = current()
    world.rules["raw"] = rule("2")
    for of in FIVE:
        entry = world.newest("raw", of)
        assert entry
        world.compute("raw", of, entry["digest"])
    assert told(world) == {}


def test_entries_from_before_parts_were_recorded_are_current_or_say_what_is_known() -> None:
    world = World(dict(GRAPH))
    for asset in GRAPH:
        for of in FIVE:
            world.compute(asset, of, with_parts=False)
    assert told(world) == {}
    world.rules["classes"] = rule(windows={"raw": (0, 0)}, model={"classifier": "lite4"})
    world.compute("raw", day(4), "other rows")
    found = told(world)["classes"]
    assert found[0] == ("code", "code of classes, or its model or settings")
    assert found[4] == ("code", "code of classes, or its model or settings; raw 2026-01-05 changed")


def test_a_day_that_waits_names_what_is_missing_and_a_day_that_a_run_left_half_done_is_new() -> None:
    world = current()
    wanted = {name: [*FIVE, day(5)] for name in GRAPH}
    assert world.survey(wanted)["training", day(5)] == ("waiting", "needs classes, styles of this day")
    assert world.survey(wanted)["staged", day(5)] == ("new", "never computed")
    world.begin("styles", day(1))
    assert world.survey(wanted)["styles", day(1)][0] == "new"


def test_a_day_does_not_wait_for_an_input_that_may_be_missing_and_is_stale_once_it_is_there() -> None:
    world = World({"raw": rule(), "profiles": replace(rule(windows={"raw": (0, 0)}), required=frozenset())})
    assert world.survey({"profiles": [day(0)]})["profiles", day(0)] == ("new", "never computed")
    world.compute("profiles", day(0))
    assert ("profiles", day(0)) not in world.survey({"profiles": [day(0)]})
    world.compute("raw", day(0))
    assert world.survey({"profiles": [day(0)]})["profiles", day(0)] == ("data", "raw 2026-01-01 changed")


def test_an_input_recorded_while_the_run_was_under_way_is_still_seen() -> None:
    """The run read the old rows and recorded itself after the new ones, so that no day looks newer than it."""
    world = current()
    before = world.inputs("classes", day(0))
    world.compute("raw", day(0), "other rows")
    world.compute("classes", day(0))
    digest = digest_of(f"{name} {value}" for name, value in before.items())
    world.entries[-1] |= {"inputs": json.dumps(before), "inputs_digest": digest}
    assert told(world)["classes"] == {0: ("data", "raw 2026-01-01 changed")}


@pytest.mark.parametrize("asked", [[], FIVE])
def test_an_empty_ledger_and_no_days_are_no_special_case(asked: list[date]) -> None:
    found = World(dict(GRAPH)).survey(dict.fromkeys(GRAPH, asked))
    assert {reason for reason, _ in found.values()} <= {"new", "waiting"}
    assert len(found) == len(asked) * len(GRAPH)


def test_the_digests_of_inputs_are_those_that_entries_hold_already() -> None:
    world = current()
    for asset in GRAPH:
        now = staleness.read_now(GRAPH[asset], pl.Series(FIVE), Ledger(world.frame()), {})
        for row in now.iter_rows(named=True):
            entry = world.newest(asset, row["day"])
            assert entry
            assert entry["inputs_digest"] == row["inputs_digest"]
