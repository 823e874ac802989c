"""From a plan to rows: stored results are looked up, the rest is made and stored, failures are rejected.

A variant is stored by its identity, so that a killed run continues, an item on two days is processed once, and a reverted
policy costs nothing.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import dataframely as dy
import polars as pl

from pipeline_assets.errors import UnfitParent
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.runtime.places import reason_of
from pipeline_assets.variants.engine.result_writer import ResultWriter, result_key, result_kind
from pipeline_assets.variants.engine.rows import Failure, rejected_of, rows_of
from pipeline_assets.variants.families import NO_OTHERS, leaking, over_days
from pipeline_assets.variants.kinds import Fetch, Kind, Made, Parent, Task, Work
from pipeline_assets.variants.planning import Planned, chosen, plan
from resources.errors import ObjectError
from resources.files import sha256_of
from resources.objects.results import Results
from resources.variant_policy import KindPolicy

SHEET_PARENTS = 4
"""Items on a contact sheet."""


def variants_of(
    run: RunOfDays,
    kind: Kind,
    schema: type[dy.Schema],
    parents: pl.DataFrame,
    fetch: Fetch,
    results: Results,
    policy: KindPolicy,
    seed: int,
    all_items: pl.DataFrame = NO_OTHERS,
) -> Table:
    """The variants of these parents under a policy, as rows of `schema`; failures are rejected.

    parents: the columns of `planning.PARENTS`; all_items: items of all days, as `families.leaking` wants them. Raises
    BadRecipe for a policy that does not fit the kind.
    """
    usable = parents.filter(pl.col("split").is_in(policy.splits))
    leaking_items = leaking(parents, all_items)
    withheld = usable.join(leaking_items, on=["day", "sha256"], how="semi")
    usable = usable.join(leaking_items, on=["day", "sha256"], how="anti")
    planned = plan(kind, usable, chosen(kind, policy.recipes), policy.children, seed)
    by_key = {result_key(kind, variant): variant for variant in planned}
    stored = results.index(result_kind(kind), list(by_key))["key"]
    missing = [by_key[key] for key in by_key.keys() - set(stored)]
    missing.sort(key=lambda variant: (variant.day, variant.task.parents, variant.number))
    failures, sheet_rows = make(run, kind, missing, fetch, results)
    rows, rejected = rows_of(kind, schema, planned, results, by_key), rejected_of(kind, failures, planned)
    rows, alike = _without_look_alikes(rows, pl.concat([all_items, parents.select(all_items.columns)]))
    rejected = pl.concat([rejected, alike])
    if rows.height + rejected.height != len(planned):
        raise RuntimeError(f"{len(planned)} variants were planned, {rows.height} made and {rejected.height} rejected")
    sheet = {f"{kind.name}: variants": kind.contact_sheet(sheet_rows)} if sheet_rows else {}
    rejected = pl.concat([rejected, _withheld(withheld)])
    facts = {"parents": usable.height, "planned": len(planned), "made": len(missing) - len(failures)}
    facts["looked_up"] = len(by_key) - len(missing)
    return Table(rows, rejected=rejected, metadata=facts, pictures=sheet)


def _without_look_alikes(rows: pl.DataFrame, items: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows without those that equal or resemble an item of another split, and these as rejected rows.

    A mirrored photo may resemble another user's photo even if its parent does not. items: sha256, phash, split.
    """
    if "phash" not in rows.columns or rows.is_empty():
        return rows, Rejected.create_empty()
    looks = rows.select("phash", "split", sha256="content_sha256")
    leaking_hashes = pl.Series(over_days(looks, items), dtype=pl.String)
    is_leaking = pl.col("content_sha256").is_in(leaking_hashes.implode())
    detail = "it has the bytes, or the look, of an upload of a user of another split"
    rejected = rows.filter(is_leaking).select(
        "day",
        source=pl.format("{} #{}", "source", "number"),
        reason=pl.lit("look_alike_in_another_split"),
        detail=pl.lit(detail),
        raw=pl.col("recipe_json").str.head(2000),
    )
    return rows.filter(~is_leaking), rejected


def _withheld(parents: pl.DataFrame) -> pl.DataFrame:
    detail = "the same bytes, or a look-alike, belong to a user of another split: its variants would leak"
    return parents.select(
        "day", "source", reason=pl.lit("family_in_two_splits"), detail=pl.lit(detail), raw=pl.lit(None, pl.String)
    )


def make(
    run: RunOfDays, kind: Kind, missing: Sequence[Planned], fetch: Fetch, results: Results
) -> tuple[list[Failure], list[tuple[Parent, list[tuple[Task, Made]]]]]:
    """Make and store missing variants. Returns failures, and some parents with their variants for a contact sheet."""
    failures: list[Failure] = []
    sheet: dict[SheetRow, tuple[Parent, list[tuple[Task, Made]]]] = {}
    if not missing:
        return failures, []
    by_task = {id(variant.task): variant for variant in missing}  # equal tasks may differ in labels
    parents_shown: dict[SheetRow, Parent] = {}

    def watched(work: Iterator[Work]) -> Iterator[Work]:
        for task, task_parents in work:
            if len(parents_shown) < SHEET_PARENTS and isinstance(task_parents[0].data, bytes):
                parents_shown.setdefault(_sheet_row(by_task[id(task)]), task_parents[0])
            yield task, task_parents

    work = watched(read_ahead_of(missing, fetch, failures))
    outcomes = run.progress(kind.make(work), len(missing), "variants")
    with ResultWriter(kind, results) as writer:
        for task, outcome in outcomes:
            planned = by_task[id(task)]
            if isinstance(outcome, UnfitParent):
                failures.append(Failure(planned, outcome.reason, outcome.detail))
            elif problems := kind.problems(outcome):
                failures.append(Failure(planned, "labels_untrue", "; ".join(problems)[:500]))
            else:
                if isinstance(outcome.data, bytes) and (parent := parents_shown.get(_sheet_row(planned))):
                    sheet.setdefault(_sheet_row(planned), (parent, []))[1].append((task, outcome))
                writer.keep(planned, outcome)
    return failures, [sheet[row] for row in sorted(sheet)]


SheetRow = tuple[str, str]
"""A row of a contact sheet: a content and its labels."""


def _sheet_row(planned: Planned) -> SheetRow:
    return planned.task.parents[0], planned.labels[0]


def noting_unreadable(fetch: Fetch, unreadable: dict[str, str]) -> Fetch:
    """Wrap `fetch` to note in `unreadable` the contents that can't be read for now, with their reasons."""

    def noted(hashes: Iterable[str]) -> Iterator[tuple[str, bytes | Path | Exception]]:
        for sha256, data in fetch(hashes):
            if isinstance(data, ObjectError):
                unreadable[sha256] = reason_of(data)
            yield sha256, data

    return noted


def read_ahead_of(missing: Sequence[Planned], fetch: Fetch, failures: list[Failure]) -> Iterator[Work]:
    """Each task with its parents; tasks with the same first parent come together, so that it is fetched once."""
    variants_of_parent: dict[str, list[Planned]] = {}
    for variant in missing:
        variants_of_parent.setdefault(variant.task.parents[0], []).append(variant)
    contents = {
        first: {sha256 for variant in group for sha256 in variant.task.parents}
        for first, group in variants_of_parent.items()
    }
    requested_for: dict[str, list[str]] = {}
    received: dict[str, dict[str, bytes | Path | Failed]] = {}

    def needed_hashes() -> Iterator[str]:
        for first, needed in contents.items():
            for sha256 in sorted(needed):
                requested_for.setdefault(sha256, []).append(first)
                yield sha256

    for sha256, data in fetch(needed_hashes()):
        first = requested_for[sha256].pop(0)
        contents_received = received.setdefault(first, {})
        contents_received[sha256] = _checked(sha256, data)
        if len(contents_received) == len(contents[first]):
            yield from _complete(variants_of_parent[first], received.pop(first), failures)


Failed = tuple[str, str]
"""Why a parent can't be used: reason, detail."""


def _checked(sha256: str, data: bytes | Path | Exception) -> bytes | Path | Failed:
    if isinstance(data, ObjectError):
        return reason_of(data), str(data)
    if isinstance(data, Exception):
        raise data
    if (actual := sha256_of(data)) != sha256:
        detail = f"the bytes read have sha256 {actual}: restore the object, then compute the day with force"
        return "corrupt", detail
    return data


def _complete(
    group: Sequence[Planned], contents: Mapping[str, bytes | Path | Failed], failures: list[Failure]
) -> Iterator[Work]:
    for planned in group:
        parents = []
        for sha256, labels in zip(planned.task.parents, planned.labels, strict=True):
            data = contents[sha256]
            if isinstance(data, tuple):
                failures.append(Failure(planned, *data))
                break
            parents.append(Parent(sha256, data, json.loads(labels)))
        else:
            yield planned.task, tuple(parents)
