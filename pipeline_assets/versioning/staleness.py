"""What is stale, and why: the one answer that runs, `darkroom status`, `darkroom refresh` and the check `current` share.

A day is current if the ledger's newest entry of it was made by today's code from inputs with today's digests. Nothing here
asks a database: the ledger's newest entries, what lies outside and the declarations are arguments.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from graphlib import TopologicalSorter
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.versioning.code import Parts, differences

REASONS = ("new", "data", "code", "model", "config", "waiting", "upstream")
"""Why a day is not current: never computed; changed inputs; changed code, model or setting; an input of its own day does not
exist; current by itself, but it reads a day that is not (its rows may come out the same, then so do its own)."""
OUTSIDE = "outside"
"""The name under which an entry keeps the digest of what its asset reads outside the lake."""
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
"""What is read of the ledger's newest entries. parts and inputs are JSON; since_id: the entry with which the rows came."""
VERDICT = {"asset": pl.String, "day": pl.Date, "reason": pl.String, "detail": pl.String}
Days = npt.NDArray[np.int32]
"""Days since 1970, ascending."""


@dataclass(frozen=True)
class Rule:
    """What an asset's days depend on, as declared now. windows: {input: first and last day read, as offsets}."""

    code_version: str
    parts: Parts = field(default_factory=dict)
    windows: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    has_source: bool = False


def with_windows(parts: Parts, windows: Mapping[str, tuple[int, int]]) -> Parts:
    """The parts with the windows of days as settings, so that an entry tells which days it has read."""
    settings = {f"days of {name}": f"{first}..{last}" for name, (first, last) in windows.items()}
    return {**parts, "config": {**parts.get("config", {}), **settings}} if settings else parts


class Ledger:
    """The newest entries by asset and day, made ready for windows: a day's inputs are a slice of one text."""

    def __init__(self, newest: pl.DataFrame) -> None:
        """newest: at most one row a day of an asset, with the columns of `ENTRY`."""
        by_asset = newest.select(list(ENTRY)).sort("day").partition_by("asset", as_dict=True)
        self._entries = {str(key[0]): frame for key, frame in by_asset.items()}
        self.timeline: Callable[[str], Timeline] = cache(lambda asset: Timeline(self.entries(asset)))

    def entries(self, asset: str) -> pl.DataFrame:
        """An asset's entries, by day."""
        return self._entries[asset] if asset in self._entries else pl.DataFrame(schema=ENTRY)


class Timeline:
    """One input: its days in order, the line that each has in a digest, and since when its rows are what they are."""

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
    """Days as numbers."""
    return days.to_physical().to_numpy().astype(np.int32)


def slices(there: Days, days: Days, window: tuple[int, int]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """For each day, where in `there` the days of its window begin and end."""
    return np.searchsorted(there, days + window[0], "left"), np.searchsorted(there, days + window[1], "right")


def read_now(rule: Rule, days: pl.Series, ledger: Ledger, outside: Mapping[date, str]) -> pl.DataFrame:
    """What each of these days (ascending) would read now: day, a digest per input, inputs_digest, and `missing`.

    missing: the inputs of the day alone that have no entry on it, by name; null where none. `inputs_digest` is over all
    the digests.
    """
    asked = numbers(days)
    digests: dict[str, list[str]] = {}
    missing: dict[int, str] = {}
    if rule.has_source:
        digests[OUTSIDE] = [outside.get(day, "nothing") for day in days.to_list()]
    for name, window in rule.windows.items():
        timeline = ledger.timeline(name)
        low, high = slices(timeline.days, asked, window)
        digests[name] = timeline.digests(low, high)
        for place in np.flatnonzero(low == high).tolist() if window == (0, 0) else ():
            missing[place] = f"{missing[place]}, {name}" if place in missing else name
    columns = [[f"{name} {digest}\n" for digest in digests[name]] for name in sorted(digests)]
    lines = map("".join, zip(*columns, strict=True)) if columns else [""] * len(asked)
    whole = [sha256(line.encode()).hexdigest()[:32] for line in lines]
    return pl.DataFrame(
        {"day": days, **digests, "inputs_digest": whole, "missing": [missing.get(place) for place in range(len(asked))]},
        schema={
            "day": pl.Date,
            **dict.fromkeys(digests, pl.String),
            "inputs_digest": pl.String,
            "missing": pl.String,
        },
    )


def judge(asset: str, rule: Rule, now: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """Which days of `read_now` are not current by themselves: asset, day, reason, detail; null where one is current."""
    mine = ledger.entries(asset).select("day", "id", "digest", "code_version", "parts", "inputs", then="inputs_digest")
    known = now.join(mine, on="day", how="left", maintain_order="left")
    same_code, same_inputs = pl.col("code_version") == rule.code_version, pl.col("then") == pl.col("inputs_digest")
    stale = pl.col("missing").is_not_null() | pl.col("id").is_null() | ~same_code | ~same_inputs
    known = known.with_columns(is_stale=stale, same_code=same_code.fill_null(value=False))
    told = _Teller(asset, rule, json.dumps(rule.parts), ledger)
    reasons = [told.reason(row) for row in known.filter("is_stale").iter_rows(named=True)]
    found = pl.DataFrame(reasons, schema={"day": pl.Date, "reason": pl.String, "detail": pl.String}, orient="row")
    return (
        known.select("day")
        .join(found, on="day", how="left", maintain_order="left")
        .select(pl.lit(asset).alias("asset"), "day", "reason", "detail")
    )


def survey(
    rules: Mapping[str, Rule],
    wanted: Mapping[str, Iterable[date]],
    newest: pl.DataFrame,
    outside: Mapping[str, Mapping[date, str]],
) -> pl.DataFrame:
    """Every wanted day of every asset: asset, day, reason, detail, in the order in which they can be computed.

    wanted: the days that ought to be there, by asset; outside: what `Declaration.sources` says, by asset. A day that is
    current by itself and reads a stale one is stale too, as `upstream`. reason and detail are null where a day is current.
    """
    ledger = Ledger(newest)
    stale: dict[str, Days] = {}
    frames = [pl.DataFrame(schema=VERDICT)]
    for asset in order(rules):
        days = pl.Series(sorted(set(wanted.get(asset, ()))), dtype=pl.Date)
        now = read_now(rules[asset], days, ledger, outside.get(asset, {}))
        found = _follow(judge(asset, rules[asset], now, ledger), rules[asset], stale, frames)
        stale[asset] = numbers(found.filter(pl.col("reason").is_not_null())["day"])
        frames.append(found)
    return pl.concat(frames)


def _follow(found: pl.DataFrame, rule: Rule, stale: Mapping[str, Days], judged: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The verdicts with the days that read a stale one, each naming the first and how many more."""
    days, current = numbers(found["day"]), found["reason"].is_null().to_numpy()
    words: list[list[str]] = [[] for _ in days]
    for name, window in rule.windows.items():
        there = stale.get(name)
        if there is None or not len(there):
            continue
        low, high = slices(there, days, window)
        for place in np.flatnonzero(current & (low < high)):
            words[place].append(f"{_days(name, there[low[place] : high[place]])} not current")
    follows = pl.Series([", ".join(one) or None for one in words], dtype=pl.String)
    return found.with_columns(
        reason=pl.when(follows.is_not_null()).then(pl.lit("upstream")).otherwise("reason"),
        detail=pl.coalesce("detail", follows),
    )


def needed(
    found: pl.DataFrame, rules: Mapping[str, Rule], assets: Iterable[str], days: Iterable[date] | None
) -> pl.DataFrame:
    """Of a survey's stale days those of some assets (and days), with every stale day that they read, and so on up."""
    stale = found.filter(pl.col("reason").is_not_null())
    asked = stale.filter(pl.col("asset").is_in(list(assets)))
    if days is not None:
        asked = asked.filter(pl.col("day").is_in(pl.Series(list(days), dtype=pl.Date).implode()))
    wanted = {str(key[0]): numbers(frame["day"]) for key, frame in asked.partition_by("asset", as_dict=True).items()}
    for asset in reversed(order(rules)):
        for name, window in rules[asset].windows.items() if asset in wanted else ():
            there = numbers(stale.filter(pl.col("asset") == name)["day"])
            low, high = slices(wanted[asset], there, (-window[1], -window[0]))
            read = there[low < high]
            wanted[name] = np.union1d(wanted.get(name, read), read).astype(np.int32)
    kept = pl.concat(
        [
            pl.DataFrame(schema={"asset": pl.String, "day": pl.Date}),
            *(_named(asset, numbered) for asset, numbered in wanted.items()),
        ]
    )
    return stale.join(kept, on=["asset", "day"], how="semi", maintain_order="left")


def computable(stale: pl.DataFrame, rules: Mapping[str, Rule], newest: pl.DataFrame) -> pl.DataFrame:
    """The stale days that can be computed together in order: each input of a day alone is there, or is among them."""
    there = {str(key[0]): frame.select("day") for key, frame in newest.partition_by("asset", as_dict=True).items()}
    nothing, kept = pl.DataFrame(schema={"day": pl.Date}), [stale.clear()]
    for asset in order(rules):
        mine = stale.filter(pl.col("asset") == asset)
        for name, window in rules[asset].windows.items():
            if window == (0, 0) and not mine.is_empty():
                mine = mine.join(there.get(name, nothing), on="day", how="semi", maintain_order="left")
        there[asset] = pl.concat([there.get(asset, nothing), mine.select("day")])
        kept.append(mine)
    return pl.concat(kept)


def order(rules: Mapping[str, Rule]) -> list[str]:
    """Assets, each after what it reads."""
    graph = {name: [up for up in rule.windows if up in rules] for name, rule in rules.items()}
    return list(TopologicalSorter(graph).static_order())


def counts(reasons: Iterable[str]) -> dict[str, int]:
    """How often each reason occurs, in the order of `REASONS`."""
    found = Counter(reasons)
    return {reason: found[reason] for reason in REASONS if found[reason]}


@dataclass(frozen=True)
class _Teller:
    """Puts into words why a day of an asset is stale."""

    asset: str
    rule: Rule
    parts: str
    ledger: Ledger

    def reason(self, row: Mapping[str, object]) -> tuple[object, str, str]:
        """(day, reason, detail) of one stale day. What keeps it from being computed comes first, then what changed more."""
        if missing := row["missing"]:
            return row["day"], "waiting", f"needs {missing} of this day"
        if row["id"] is None:
            return row["day"], "new", "never computed"
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
        if row["same_code"]:  # all that can differ then is which days are read
            changes = {"config": changes["config"]} if "config" in changes else {}
        elif not changes:
            changes = {"code": ["what it is made of"]}
        if not changes:
            return None
        words = {"code": f"code of {self.asset} ({', '.join(changes.get('code', ()))})"}
        told = [words.get(kind, f"{kind} {', '.join(changed)}") for kind, changed in changes.items()]
        return next(iter(changes)), "; ".join(told)

    def _data(self, row: Mapping[str, object]) -> list[str]:
        """Each input whose digest differs, with its days that changed since the entry."""
        read = json.loads(str(row["inputs"]))
        return [
            self._input(name, row)
            for name in [OUTSIDE, *self.rule.windows]
            if name in row and read.get(name) != row[name] and not self._is_another_window(name, row)
        ]

    def _is_another_window(self, name: str, row: Mapping[str, object]) -> bool:
        """Whether the entry read other days of an input, so that its digest tells nothing of changes."""
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
        if not len(changed):  # recorded while the entry's run was under way: which of them is not known
            changed = timeline.days[low:high]
        return f"{_days(name, changed)} changed" if len(changed) else f"{name} changed"


@cache
def _changes(before: str, now: str) -> dict[str, list[str]]:
    """What differs between two sets of parts, by kind, those without a difference left out."""
    then, today = json.loads(before), json.loads(now)
    found = {kind: differences(then, today, kind) for kind in ("code", "model", "config")}
    return {kind: changed for kind, changed in found.items() if changed}


def _days(asset: str, days: Days) -> str:
    """An asset with its first day of these, and how many more."""
    more = f" and {len(days) - 1:,} more days" if len(days) > 2 else " and 1 more day" if len(days) == 2 else ""
    return f"{asset} {np.datetime64(int(days[0]), 'D')}{more}"


def _named(asset: str, days: Days) -> pl.DataFrame:
    return pl.DataFrame({"day": pl.Series(days, dtype=pl.Int32).cast(pl.Date)}).select(pl.lit(asset).alias("asset"), "day")
