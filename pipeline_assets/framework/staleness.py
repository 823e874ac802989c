"""Decides which days are stale, and why, for runs, `darkroom status`, `darkroom refresh` and the check `current`.

A day is current if the ledger's newest entry of it was computed by today's code from inputs with today's digests. Pure: the
ledger's newest entries, digests of sources and declarations are arguments.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from graphlib import TopologicalSorter
from hashlib import sha256
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.framework.code_version import Parts, differences

REASONS = ("lost", "new", "data", "code", "model", "config", "waiting", "upstream")
"""Why a day is not current. lost: its table lacks the rows in the ledger; new: never computed; data: changed inputs; code,
model, config: changed code, model or setting; waiting: a same-day input does not exist; upstream: it reads a day that is not
current (if the rows of that day do not change, nor do its own)."""
OUTSIDE = "outside"
"""The key in an entry's inputs for the digest of the sources outside the lake."""
LOST = "lost"
"""The key in the inputs of an entry without rows whose value says why the earlier rows are lost."""
ENTRY = {
    "asset": pl.String,
    "day": pl.Date,
    "id": pl.Int64,
    "since_id": pl.Int64,
    "digest": pl.String,
    "code_version": pl.String,
    "parts": pl.String,
    "inputs": pl.String,
    "inputs_digest": pl.String,
}
"""The columns of the ledger's newest entries. parts and inputs are JSON; since_id: the first entry with these rows."""
VERDICT = {"asset": pl.String, "day": pl.Date, "reason": pl.String, "detail": pl.String}
Days = npt.NDArray[np.int32]
"""Days since 1970, ascending."""


@dataclass(frozen=True)
class Rule:
    """What an asset's days depend on by its declaration. windows: {input: first and last day read, as offsets}.

    required: the inputs whose same day must exist; None: all that read only the same day.
    """

    code_version: str
    parts: Parts = field(default_factory=dict)
    windows: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    has_source: bool = False
    required: Set[str] | None = None


def with_windows(parts: Parts, windows: Mapping[str, tuple[int, int]]) -> Parts:
    """The parts with the windows of days as settings, so that an entry records which days it has read."""
    settings = {f"days of {name}": f"{first}..{last}" for name, (first, last) in windows.items()}
    return {**parts, "config": {**parts.get("config", {}), **settings}} if settings else parts


class Ledger:
    """The newest entries by asset and day, prepared for windows: a day's inputs are a slice of one text."""

    def __init__(self, newest: pl.DataFrame) -> None:
        """newest: at most one row for each day of an asset, with the columns of `ENTRY`."""
        by_asset = newest.select(list(ENTRY)).sort("day").partition_by("asset", as_dict=True)
        self._entries = {str(key[0]): frame for key, frame in by_asset.items()}
        self.timeline: Callable[[str], Timeline] = cache(lambda asset: Timeline(self.entries(asset)))

    def entries(self, asset: str) -> pl.DataFrame:
        """An asset's entries, by day."""
        return self._entries[asset] if asset in self._entries else pl.DataFrame(schema=ENTRY)


class Timeline:
    """One input: its days in order, the line of each in a digest, and the entry that first had its rows."""

    def __init__(self, entries: pl.DataFrame) -> None:
        self.days = numbers(entries["day"])
        self.since = entries["since_id"].to_numpy()
        texts = zip(entries["day"].to_list(), entries["digest"].to_list(), strict=True)
        lines = [f"{day} {digest}\n".encode() for day, digest in texts]
        self.text = b"".join(lines)
        self.ends = np.cumsum([0, *map(len, lines)])

    def digests(self, low: npt.NDArray[np.intp], high: npt.NDArray[np.intp]) -> list[str]:
        """The digest of each slice of days: `digest_of` its lines."""
        starts, ends = self.ends[low].tolist(), self.ends[high].tolist()
        return [sha256(self.text[start:end]).hexdigest()[:32] for start, end in zip(starts, ends, strict=True)]


def numbers(days: pl.Series) -> Days:
    """Days as numbers since 1970."""
    return days.to_physical().to_numpy().astype(np.int32)


def slices(days_of_input: Days, days: Days, window: tuple[int, int]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """For each day, the first and last index (exclusive) of its window in the ascending days of an input."""
    return np.searchsorted(days_of_input, days + window[0], "left"), np.searchsorted(
        days_of_input, days + window[1], "right"
    )


def read_now(rule: Rule, days: pl.Series, ledger: Ledger, outside: Mapping[date, str]) -> pl.DataFrame:
    """What each of these days (ascending) would read now: day, a digest for each input, inputs_digest, missing.

    missing: the names of the same-day inputs without an entry for the day; null if none. inputs_digest: over all digests.
    """
    day_numbers = numbers(days)
    digests: dict[str, list[str]] = {}
    missing: dict[int, str] = {}
    if rule.has_source:
        digests[OUTSIDE] = [outside.get(day, "nothing") for day in days.to_list()]
    for name, window in rule.windows.items():
        timeline = ledger.timeline(name)
        low, high = slices(timeline.days, day_numbers, window)
        digests[name] = timeline.digests(low, high)
        is_required = window == (0, 0) if rule.required is None else name in rule.required
        for index in np.flatnonzero(low == high).tolist() if is_required else ():
            missing[index] = f"{missing[index]}, {name}" if index in missing else name
    columns = [[f"{name} {digest}\n" for digest in digests[name]] for name in sorted(digests)]
    lines = map("".join, zip(*columns, strict=True)) if columns else [""] * len(day_numbers)
    whole = [sha256(line.encode()).hexdigest()[:32] for line in lines]
    return pl.DataFrame(
        {
            "day": days,
            **digests,
            "inputs_digest": whole,
            "missing": [missing.get(index) for index in range(len(day_numbers))],
        },
        schema={
            "day": pl.Date,
            **dict.fromkeys(digests, pl.String),
            "inputs_digest": pl.String,
            "missing": pl.String,
        },
    )


def judge(
    asset: str, rule: Rule, now: pl.DataFrame, ledger: Ledger, lost: Mapping[date, str] = MappingProxyType({})
) -> pl.DataFrame:
    """Judge the days of `read_now` by themselves: asset, day, reason, detail; the last two are null for a current day.

    lost: days whose rows are no longer in the table, with the reason.
    """
    entries = ledger.entries(asset).select("day", "id", "digest", "code_version", "parts", "inputs", then="inputs_digest")
    joined = now.join(entries, on="day", how="left", maintain_order="left")
    same_code, same_inputs = pl.col("code_version") == rule.code_version, pl.col("then") == pl.col("inputs_digest")
    lost_days = pl.DataFrame({"day": list(lost), "lost": list(lost.values())}, schema={"day": pl.Date, "lost": pl.String})
    joined = joined.join(lost_days, on="day", how="left", maintain_order="left")
    absent = pl.col("missing").is_not_null() | pl.col("id").is_null() | pl.col("lost").is_not_null()
    stale = absent | ~same_code | ~same_inputs
    joined = joined.with_columns(is_stale=stale, same_code=same_code.fill_null(value=False))
    explainer = _Explainer(asset, rule, json.dumps(rule.parts), ledger)
    reasons = [explainer.reason(row) for row in joined.filter("is_stale").iter_rows(named=True)]
    verdicts = pl.DataFrame(reasons, schema={"day": pl.Date, "reason": pl.String, "detail": pl.String}, orient="row")
    return (
        joined.select("day")
        .join(verdicts, on="day", how="left", maintain_order="left")
        .select(pl.lit(asset).alias("asset"), "day", "reason", "detail")
    )


def survey(
    rules: Mapping[str, Rule],
    expected: Mapping[str, Iterable[date]],
    newest: pl.DataFrame,
    outside: Mapping[str, Mapping[date, str]],
    lost: Mapping[str, Mapping[date, str]] = MappingProxyType({}),
) -> pl.DataFrame:
    """Judge the expected days of all assets: asset, day, reason, detail, in the order in which they can be computed.

    expected: the days that should exist, by asset; outside: the digests of `Declaration.sources`, by asset; lost: days whose
    rows are no longer in their tables, with the reason. A day that is current by itself and reads a stale one is stale, too,
    as `upstream`. reason and detail are null for current days.
    """
    ledger = Ledger(newest)
    stale: dict[str, Days] = {}
    frames = [pl.DataFrame(schema=VERDICT)]
    for asset in order(rules):
        days = pl.Series(sorted(set(expected.get(asset, ()))), dtype=pl.Date)
        now = read_now(rules[asset], days, ledger, outside.get(asset, {}))
        verdicts = _follow(judge(asset, rules[asset], now, ledger, lost.get(asset, {})), rules[asset], stale, frames)
        stale[asset] = numbers(verdicts.filter(pl.col("reason").is_not_null())["day"])
        frames.append(verdicts)
    return pl.concat(frames)


def _follow(verdicts: pl.DataFrame, rule: Rule, stale: Mapping[str, Days], judged: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The verdicts with reason `upstream` for days that read a stale day; the detail has the first one and their number."""
    days, current = numbers(verdicts["day"]), verdicts["reason"].is_null().to_numpy()
    details: list[list[str]] = [[] for _ in days]
    for name, window in rule.windows.items():
        stale_input = stale.get(name)
        if stale_input is None or not len(stale_input):
            continue
        low, high = slices(stale_input, days, window)
        for index in np.flatnonzero(current & (low < high)):
            details[index].append(f"{_days(name, stale_input[low[index] : high[index]])} not current")
    follows = pl.Series([", ".join(one) or None for one in details], dtype=pl.String)
    return verdicts.with_columns(
        reason=pl.when(follows.is_not_null()).then(pl.lit("upstream")).otherwise("reason"),
        detail=pl.coalesce("detail", follows),
    )


def order(rules: Mapping[str, Rule]) -> list[str]:
    """The assets in topological order."""
    graph = {name: [up for up in rule.windows if up in rules] for name, rule in rules.items()}
    return list(TopologicalSorter(graph).static_order())


def counts(reasons: Iterable[str]) -> dict[str, int]:
    """How often each reason occurs, in the order of `REASONS`."""
    occurrences = Counter(reasons)
    return {reason: occurrences[reason] for reason in REASONS if occurrences[reason]}


@dataclass(frozen=True)
class _Explainer:
    """Explains in words why a day of an asset is stale."""

    asset: str
    rule: Rule
    parts: str
    ledger: Ledger

    def reason(self, row: Mapping[str, object]) -> tuple[object, str, str]:
        """(day, reason, detail) of one stale day: first obstacles to computing it, then changes of code before data."""
        if missing := row["missing"]:
            return row["day"], "waiting", f"needs {missing} of this day"
        if row["id"] is None:
            return row["day"], "new", "never computed"
        if why := row["lost"] or (None if row["digest"] else json.loads(str(row["inputs"])).get(LOST)):
            return row["day"], "lost", str(why)
        if not row["digest"]:
            return row["day"], "new", "a run began to replace this day and has not recorded it"
        code = self._code(row)
        data = self._data(row)
        if code:
            return row["day"], code[0], "; ".join([code[1], *data])
        return row["day"], "data", "; ".join(data) or "what it reads changed"

    def _code(self, row: Mapping[str, object]) -> tuple[str, str] | None:
        if row["parts"] is None:
            return None if row["same_code"] else ("code", f"code of {self.asset}, or its model or settings")
        changes = _changes(str(row["parts"]), self.parts)
        if row["same_code"]:  # then only the windows of days can differ
            changes = {"config": changes["config"]} if "config" in changes else {}
        elif not changes:
            changes = {"code": ["what it is made of"]}
        if not changes:
            return None
        code_words = {"code": f"code of {self.asset} ({', '.join(changes.get('code', ()))})"}
        descriptions = [code_words.get(kind, f"{kind} {', '.join(changed)}") for kind, changed in changes.items()]
        return next(iter(changes)), "; ".join(descriptions)

    def _data(self, row: Mapping[str, object]) -> list[str]:
        """The inputs whose digest differs, each with its days that changed since the entry."""
        read = json.loads(str(row["inputs"]))
        return [
            self._input(name, row)
            for name in [OUTSIDE, *self.rule.windows]
            if name in row and read.get(name) != row[name] and not self._is_another_window(name, row)
        ]

    def _is_another_window(self, name: str, row: Mapping[str, object]) -> bool:
        """Whether the entry read another window of an input, so that its digest can't be compared."""
        setting = f"days of {name}"
        then = json.loads(str(row["parts"]))["config"].get(setting) if row["parts"] and name != OUTSIDE else None
        return then is not None and then != self.rule.parts.get("config", {}).get(setting)

    def _input(self, name: str, row: Mapping[str, object]) -> str:
        if name == OUTSIDE:
            return "what it reads outside changed"
        timeline = self.ledger.timeline(name)
        day = numbers(pl.Series([row["day"]], dtype=pl.Date))
        [low], [high] = slices(timeline.days, day, self.rule.windows[name])
        changed = timeline.days[low:high][timeline.since[low:high] > row["id"]]
        if not len(changed):  # recorded during the entry's run: which of them is unknown
            changed = timeline.days[low:high]
        return f"{_days(name, changed)} changed" if len(changed) else f"{name} changed"


@cache
def _changes(before: str, now: str) -> dict[str, list[str]]:
    """The differences between two sets of parts, by kind; kinds without differences are left out."""
    then, today = json.loads(before), json.loads(now)
    changes_by_kind = {kind: differences(then, today, kind) for kind in ("code", "model", "config")}
    return {kind: changed for kind, changed in changes_by_kind.items() if changed}


def _days(asset: str, days: Days) -> str:
    """An asset with the first of these days and the number of the others."""
    more = f" and {len(days) - 1:,} more days" if len(days) > 2 else " and 1 more day" if len(days) == 2 else ""
    return f"{asset} {np.datetime64(int(days[0]), 'D')}{more}"
