"""Checking out: a data set's files and rows onto the local disk, so that killing it costs nothing but the time to go on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.errors import CheckoutRefused
from pipeline_assets.versioning.checkout_plan import Plan, plan
from pipeline_assets.versioning.checkout_state import STATE, State
from pipeline_assets.versioning.checkout_work import Report, Work
from pipeline_assets.versioning.content_cache import ContentCache
from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.selection import Selection
from pipeline_assets.versioning.target import Target

UNKNOWN = b""
"""Stands for the sha256 of rows that are still to be written."""
WANTED = ["path", "sha256", "size_bytes", "made_from", "store", "key", "version_id", "offset"]


def checkout(
    pinned: Pinned,
    folder: Path,
    selection: Selection,
    *,
    where: str | None = None,
    link: str = "auto",
    cache: ContentCache | None = None,
    force: bool = False,
    tell: Callable[[str], object] = print,
) -> Report:
    """Make the folder hold what is selected: add, replace and remove, but only files that a checkout wrote.

    link: auto, hard, reflink or copy (see `placing.link_for`). tell: gets a line now and then. Raises CheckoutRefused and
    PathEscapes before anything is written; AlreadyRunning; NoSpace; StoreUnavailable; CheckoutIncomplete if some files
    could not be got, after all others are in place. Called again after any of these, it goes on.
    """
    with Target.held(folder) as target:
        state = target.record.state()
        mine, others = _scoped(state, pinned.reference.name, folder, selection)
        todo = plan(target, mine, _wanted(selection, mine), force=force)
        if todo.put.is_empty() and not todo.remove and others.is_empty() and _is_settled(state, todo):
            return Report(kept=todo.keep.height, left=todo.left, rows=_rows_path(selection))
        work = Work(target, pinned, cache, link, tell)
        todo = work.with_rows(todo, selection, where)
        planned = todo.put.select("path", "sha256", "size_bytes", "made_from").with_columns(
            modified_ns=pl.lit(None, pl.Int64), inode=pl.lit(None, pl.Int64), is_ours=pl.lit(value=True)
        )
        before = state.files.join(todo.keep, on="path", how="anti")
        target.record.remember(
            pinned.reference.name, pl.concat([todo.keep, planned.select(STATE.names()), before]).unique(maintain_order=True)
        )
        with target.record.journal() as note:
            target.remove(todo.remove)
            for stamps in work.run(todo):
                note(stamps)
        done = (
            planned.drop("modified_ns", "inode").join(target.record.written(), on="path", how="inner").select(STATE.names())
        )
        failed = mine.files.join(todo.put.join(done, on="path", how="anti"), on="path", how="semi")
        target.record.remember(pinned.reference.name, pl.concat([todo.keep, done, failed, others]))
        return work.report(todo, _rows_path(selection))


def rehearse(pinned: Pinned, folder: Path, selection: Selection, *, force: bool = False) -> Plan:
    """What `checkout` would do. Nothing is written. Raises as it does."""
    if not folder.exists():
        return Plan(pl.DataFrame(schema=STATE), _wanted(selection, _NOTHING), (), ())
    with Target.seen(folder) as target:
        mine, _ = _scoped(target.record.state(), pinned.reference.name, folder, selection)
        return plan(target, mine, _wanted(selection, mine), force=force)


_NOTHING = State(None, pl.DataFrame(schema=STATE), True)


def _scoped(state: State, name: str, folder: Path, selection: Selection) -> tuple[State, pl.DataFrame]:
    """The state of what this selection speaks of, and the rest: `--no-files` leaves the files as they are."""
    if state.name not in (None, name):
        raise CheckoutRefused(f"{folder} holds the data set {state.name}: check {name} out into another folder.")
    is_rows = pl.col("made_from").is_not_null()
    spoken = (is_rows & (selection.rows is not None)) | (~is_rows & (selection.files is not None))
    return State(name, state.files.filter(spoken), state.is_trusted), state.files.filter(~spoken)


def _wanted(selection: Selection, state: State) -> pl.DataFrame:
    """Files and rows alike, as `plan` compares them. Rows that were written before have the sha256 that they had then."""
    schema: dict[str, Any] = {**STATE, "store": pl.String, "key": pl.String, "version_id": pl.String, "offset": pl.Int64}
    parts = [pl.DataFrame(schema={name: schema[name] for name in WANTED})]
    if selection.files is not None:
        parts.append(selection.files.with_columns(made_from=pl.lit(None, pl.String)).select(WANTED))
    if selection.rows is not None:
        known = state.files.filter(pl.col("made_from") == selection.made_from)
        facts = {"path": selection.rows_path, "made_from": selection.made_from}
        facts |= {name: known[name][-1] if known.height else empty for name, empty in _NEW_ROWS.items()}
        parts.append(pl.DataFrame([facts], schema={name: schema[name] for name in WANTED}))
    found = pl.concat(parts)
    if found["path"].is_duplicated().any():
        raise CheckoutRefused(f"The data set has a file {selection.rows_path}, where its rows go: use --no-rows.")
    return found


_NEW_ROWS: Mapping[str, Any] = {"sha256": UNKNOWN, "size_bytes": 0}


def _is_settled(state: State, todo: Plan) -> bool:
    """Whether the state says already what is there, so that it need not be written again."""
    known = state.files.drop_nulls("inode")
    columns = ["path", "sha256", "modified_ns", "inode"]
    return (
        known.height == state.files.height == todo.keep.height
        and state.is_trusted
        and (known.join(todo.keep, on=columns, how="semi").height == known.height)
    )


def _rows_path(selection: Selection) -> str | None:
    return selection.rows_path if selection.rows is not None else None
