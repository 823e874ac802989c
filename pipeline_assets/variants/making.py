"""From a plan to rows: what is known already is looked up, the rest is made and kept, and what can't be made is rejected.

A variant is kept by its identity, so a killed run goes on where it was, an item on two days is worked on once, and a policy
that is taken back costs nothing. Its bytes are written before its row: those of small variants end to end, in a pack for
all whose rows are kept together, since a request for each would cost more than to make it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl

from pipeline_assets.errors import UnfitParent
from pipeline_assets.held import sha256_of
from pipeline_assets.ingestion.schemas import Rejected
from pipeline_assets.table_asset import RunOfDays, Table
from pipeline_assets.variants.families import NO_OTHERS, leaking
from pipeline_assets.variants.kinds import Fetch, Kind, Made, Parent, Task, Work
from pipeline_assets.variants.planning import NO_LABELS, Planned, chosen, plan
from pipeline_assets.variants.schemas import Variants
from pipeline_assets.versioning.packs import PACKED_BELOW, Packer
from resources.errors import NotFound
from resources.object_store import ObjectRef
from resources.results import KEY, Results
from resources.variant_policy import KindPolicy

KEPT_AT_ONCE = 256
"""Variants whose rows are kept together: what a kill can cost."""
WRITERS = 8
"""Large variants that are sent at once, while others are made."""
SHOWN_PARENTS = 4
"""Items on a contact sheet."""

_KEPT = ("content_sha256", "size_bytes", "object_sha256", "object_offset", "media_type", "encoding", "labels_json")
_ALONE = {"object_sha256": pl.col("content_sha256"), "object_offset": pl.lit(0, pl.Int64)}
"""What rows mean that were kept before variants shared objects."""


@dataclass(frozen=True)
class Failure:
    """A variant that could not be made, with its reason."""

    planned: Planned
    reason: str
    detail: str


def variants_of(
    run: RunOfDays,
    kind: Kind,
    schema: type[dy.Schema],
    parents: pl.DataFrame,
    fetch: Fetch,
    results: Results,
    policy: KindPolicy,
    seed: int,
    others: pl.DataFrame = NO_OTHERS,
) -> Table:
    """The variants of these parents under a policy, as rows of `schema`; what could not be made is rejected.

    parents: the columns of `planning.PARENTS`; others: items of all days, as `families.leaking` wants them. Raises
    BadRecipe for a policy that does not fit the kind.
    """
    wanted = parents.filter(pl.col("split").is_in(policy.splits))
    torn = leaking(parents, others)
    withheld = wanted.join(torn, on=["day", "sha256"], how="semi")
    wanted = wanted.join(torn, on=["day", "sha256"], how="anti")
    planned = plan(kind, wanted, chosen(kind, policy.recipes), policy.children, seed)
    by_key = {kept_as(one): one for one in planned}
    known = results.index(kept_kind(kind), list(by_key))["key"]
    missing = [by_key[key] for key in by_key.keys() - set(known)]
    missing.sort(key=lambda one: (one.day, one.task.parents, one.number))
    failures, shown = make(run, kind, missing, fetch, results)
    rows, rejected = _rows(kind, schema, planned, results, by_key), _rejected(failures, planned)
    if rows.height + rejected.height != len(planned):
        raise RuntimeError(f"{len(planned)} variants were planned, {rows.height} made and {rejected.height} rejected")
    sheet = {f"{kind.name}: variants": kind.contact_sheet(shown)} if shown else {}
    rejected = pl.concat([rejected, _withheld(withheld)])
    facts = {"parents": wanted.height, "planned": len(planned), "made": len(missing) - len(failures)}
    facts["looked_up"] = len(by_key) - len(missing)
    return Table(rows, rejected=rejected, metadata=facts, pictures=sheet)


def _withheld(parents: pl.DataFrame) -> pl.DataFrame:
    told = "the same bytes, or a look-alike, belong to a user of another split: its variants would leak"
    return parents.select(
        "day", "source", reason=pl.lit("family_in_two_splits"), detail=pl.lit(told), raw=pl.lit(None, pl.String)
    )


def kept_kind(kind: Kind) -> str:
    """The name under which the results of a kind are kept: `darkroom gc` knows them by it."""
    return f"variants/{kind.name}"


def kept_as(planned: Planned) -> str:
    """The key under which a variant is kept: its identity, and the labels that it was given, which may change."""
    if all(labels == NO_LABELS for labels in planned.labels):
        return planned.task.variant_id
    return hashlib.sha256("\n".join((planned.task.variant_id, *planned.labels)).encode()).hexdigest()


def make(
    run: RunOfDays, kind: Kind, missing: Sequence[Planned], fetch: Fetch, results: Results
) -> tuple[list[Failure], list[tuple[Parent, list[tuple[Task, Made]]]]]:
    """Make what is missing and keep it. Returns what failed, and some parents with their variants, for people."""
    failures: list[Failure] = []
    sheet: dict[str, tuple[Parent, list[tuple[Task, Made]]]] = {}
    if not missing:
        return failures, []
    by_task = {id(one.task): one for one in missing}  # two may be equal, and differ in labels
    parents: dict[str, Parent] = {}

    def watched(work: Iterator[Work]) -> Iterator[Work]:
        for task, given in work:
            if len(parents) < SHOWN_PARENTS and isinstance(given[0].data, bytes):
                parents.setdefault(given[0].sha256, given[0])
            yield task, given

    work = watched(read_ahead_of(missing, fetch, failures))
    outcomes = run.progress(kind.make(work), len(missing), "variants")
    with _Keeper(kept_kind(kind), results) as keeper:
        for task, outcome in outcomes:
            planned = by_task[id(task)]
            if isinstance(outcome, UnfitParent):
                failures.append(Failure(planned, outcome.reason, outcome.detail))
            elif problems := kind.problems(outcome):
                failures.append(Failure(planned, "labels_untrue", "; ".join(problems)[:500]))
            else:
                if isinstance(outcome.data, bytes) and (parent := parents.get(task.parents[0])):
                    sheet.setdefault(parent.sha256, (parent, []))[1].append((task, outcome))
                keeper.keep(planned, outcome)
    return failures, [sheet[sha256] for sha256 in sorted(sheet)]


def read_ahead_of(missing: Sequence[Planned], fetch: Fetch, failures: list[Failure]) -> Iterator[Work]:
    """Each task with its parents; all that one item is the first parent of come together, so it is fetched once."""
    together: dict[str, list[Planned]] = {}
    for one in missing:
        together.setdefault(one.task.parents[0], []).append(one)
    contents = {first: {sha256 for one in group for sha256 in one.task.parents} for first, group in together.items()}
    asking: dict[str, list[str]] = {}
    arrived: dict[str, dict[str, bytes | Path | Failed]] = {}

    def asked() -> Iterator[str]:
        for first, wanted in contents.items():
            for sha256 in sorted(wanted):
                asking.setdefault(sha256, []).append(first)
                yield sha256

    for sha256, data in fetch(asked()):
        first = asking[sha256].pop(0)
        found = arrived.setdefault(first, {})
        found[sha256] = _checked(sha256, data)
        if len(found) == len(contents[first]):
            yield from _complete(together[first], arrived.pop(first), failures)


Failed = tuple[str, str]
"""Why a parent can't be used: reason, detail."""


def _checked(sha256: str, data: bytes | Path | Exception) -> bytes | Path | Failed:
    if isinstance(data, NotFound):
        return "gone", str(data)
    if isinstance(data, Exception):
        raise data
    if (actual := sha256_of(data)) != sha256:
        told = f"the bytes read have sha256 {actual}: restore the object, then compute the day with force"
        return "corrupt", told
    return data


def _complete(
    group: Sequence[Planned], found: Mapping[str, bytes | Path | Failed], failures: list[Failure]
) -> Iterator[Work]:
    for planned in group:
        parents = []
        for sha256, labels in zip(planned.task.parents, planned.labels, strict=True):
            data = found[sha256]
            if isinstance(data, tuple):
                failures.append(Failure(planned, *data))
                break
            parents.append(Parent(sha256, data, json.loads(labels)))
        else:
            yield planned.task, tuple(parents)


class _Keeper:
    """Keeps variants, many together: a pack of their bytes, then their rows, on a thread beside the making.

    As a context: the rest on exit.
    """

    def __init__(self, kind: str, results: Results) -> None:
        self.kind = kind
        self.results = results
        self.senders = ThreadPoolExecutor(WRITERS, thread_name_prefix="variants-send")
        self.keeper = ThreadPoolExecutor(1, thread_name_prefix="variants-keep")
        self.rows: list[dict[str, Any] | Future[dict[str, Any]]] = []
        self.packer = Packer(results.store)
        self.keeping: Future[None] | None = None

    def __enter__(self) -> "_Keeper":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._flush()  # what was made is kept also when the work ends with an error
            self._wait()
        finally:
            self.keeper.shutdown()
            self.senders.shutdown()

    def keep(self, planned: Planned, made: Made) -> None:
        packed = None
        if isinstance(made.data, bytes) and len(made.data) < PACKED_BELOW:
            sha256 = hashlib.sha256(made.data)
            self.packer.add(sha256.digest(), made.data)
            packed = ObjectRef(sha256.hexdigest(), len(made.data))
        if packed and not made.also:
            self.rows.append(_row(planned, made, packed))
        else:
            self.rows.append(self.senders.submit(self._send, planned, made, packed))
            sent = [row for row in self.rows if isinstance(row, Future)]
            if len(sent) >= 2 * WRITERS:
                sent[-2 * WRITERS].result()  # no more bytes wait than this
        if len(self.rows) >= KEPT_AT_ONCE:
            self._flush()

    def _send(self, planned: Planned, made: Made, packed: ObjectRef | None) -> dict[str, Any]:
        store = self.results.store
        ref = packed or store.put_if_absent(made.data)
        further = {name: store.put_if_absent(data).sha256 for name, data in made.also.items()}
        return _row(planned, made, ref) | further

    def _flush(self) -> None:
        self._wait()
        if self.rows:
            self.keeping = self.keeper.submit(self._keep, self.rows, self.packer)
            self.rows, self.packer = [], Packer(self.results.store)

    def _wait(self) -> None:
        if self.keeping:
            self.keeping.result()

    def _keep(self, waiting: Sequence[dict[str, Any] | Future[dict[str, Any]]], packer: Packer) -> None:
        places = packer.close()
        rows = [row.result() if isinstance(row, Future) else row for row in waiting]
        for row in rows:
            place = places.get(bytes.fromhex(row["content_sha256"]))
            row["object_sha256"] = place.sha256 if place else row["content_sha256"]
            row["object_offset"] = place.offset if place else 0
        self.results.put(self.kind, pl.DataFrame(rows, infer_schema_length=None))


def _row(planned: Planned, made: Made, ref: ObjectRef) -> dict[str, Any]:
    return {
        KEY: kept_as(planned),
        "content_sha256": ref.sha256,
        "size_bytes": ref.size,
        "media_type": made.media_type,
        "encoding": made.encoding,
        "labels_json": json.dumps(made.labels, sort_keys=True, separators=(",", ":"), allow_nan=False),
        **made.columns,
    }


def _rows(
    kind: Kind, schema: type[dy.Schema], planned: Sequence[Planned], results: Results, by_key: Mapping[str, Planned]
) -> pl.DataFrame:
    """The table's rows: every planned variant that is known."""
    names = [name for name in schema.column_names() if name in _KEPT or name not in Variants.column_names()]
    types = schema.create_empty().schema
    empty = pl.DataFrame(schema={KEY: pl.String, **{name: types[name] for name in names}})
    parts = [empty]
    for part in results.parts(kept_kind(kind), list(by_key)):
        parts.append(part.select(pl.col(KEY), *(_column(part, name, types[name]) for name in names)))
    plans = pl.DataFrame(
        [
            {
                KEY: kept_as(one),
                "day": one.day,
                "variant_id": one.task.variant_id,
                "parent_sha256": one.task.parents[0],
                "other_parent_sha256": one.task.parents[1] if len(one.task.parents) > 1 else None,
                "source": one.source,
                "kind": kind.name,
                "recipe": one.recipe,
                "recipe_json": one.task.recipe.json,
                "number": one.number,
                "seed": one.task.seed,
                "split": one.split,
                "is_synthetic": True,
            }
            for one in planned
        ],
        schema={KEY: pl.String, **{name: kept for name, kept in types.items() if name not in names}},
    )
    return plans.join(pl.concat(parts), on=KEY).select(schema.column_names()).sort("day", "source", "number", "variant_id")


def _column(part: pl.DataFrame, name: str, kept: pl.DataType) -> pl.Expr:
    if name in part.columns:
        return pl.col(name).cast(kept)
    return _ALONE.get(name, pl.lit(None)).cast(kept).alias(name)


def _rejected(failures: Sequence[Failure], planned: Sequence[Planned]) -> pl.DataFrame:
    """Each variant that could not be made, on each of the days that it was planned for."""
    reasons = {kept_as(failure.planned): failure for failure in failures}
    rows = [
        {
            "day": one.day,
            "source": f"{one.source} #{one.number}",
            "reason": failure.reason,
            "detail": failure.detail,
            "raw": one.task.recipe.json[:2000],
        }
        for one in planned
        if (failure := reasons.get(kept_as(one)))
    ]
    return pl.DataFrame(rows, schema=Rejected.create_empty().schema)
