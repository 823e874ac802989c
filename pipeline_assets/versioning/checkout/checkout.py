"""Checks out a data set's files and rows onto the local disk; a killed checkout continues at the next call."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.errors import CheckoutRefused
from pipeline_assets.versioning.checkout.content_cache import ContentCache
from pipeline_assets.versioning.checkout.plan import Plan, plan
from pipeline_assets.versioning.checkout.selection import Selection
from pipeline_assets.versioning.checkout.state import STATE, State
from pipeline_assets.versioning.checkout.target import Target
from pipeline_assets.versioning.checkout.work import Report, Work
from pipeline_assets.versioning.pin.contents import Pinned

UNKNOWN = b""
"""Placeholder for the sha256 of rows that are not written yet."""
PLAN_COLUMNS = ["path", "sha256", "size_bytes", "made_from", "store", "key", "version_id", "offset"]


def checkout(
    pinned: Pinned,
    folder: Path,
    selection: Selection,
    *,
    secret: bytes,
    where: str | None = None,
    link: str = "auto",
    cache: ContentCache | None = None,
    force: bool = False,
    tell: Callable[[str], object] = print,
) -> Report:
    """Make the folder match the selection: add files, and replace or remove files that a checkout wrote.

    secret: of this HOME; it seals the record of files that checkouts wrote. link: auto, hard, reflink or copy (see
    `placement.link_for`). tell: gets progress lines. Raises CheckoutRefused and PathEscapes before anything is written;
    AlreadyRunning; NoSpace; StoreUnavailable; CheckoutIncomplete if some files could not be fetched, after all others
    are in place. Called again after any of these, it continues.
    """
    with Target.held(folder, secret) as target:
        state = target.record.state()
        selected, unselected = _split_state(state, pinned.reference.name, folder, selection)
        steps = plan(target, selected, _selected_files(selection, selected), force=force)
        if steps.put.is_empty() and not steps.remove and unselected.is_empty() and _is_settled(state, steps):
            return Report(kept=steps.keep.height, left=steps.left, rows=_rows_path(selection))
        work = Work(target, pinned, cache, link, tell)
        steps = work.with_rows(steps, selection, where)
        planned = steps.put.select("path", "sha256", "size_bytes", "made_from").with_columns(
            modified_ns=pl.lit(None, pl.Int64), inode=pl.lit(None, pl.Int64), is_ours=pl.lit(value=True)
        )
        previous = state.files.join(steps.keep, on="path", how="anti")
        target.record.remember(
            pinned.reference.name,
            pl.concat([steps.keep, planned.select(STATE.names()), previous]).unique(maintain_order=True),
        )
        with target.record.journal() as note:
            target.remove(steps.remove)
            for stamps in work.run(steps):
                note(stamps)
        written = (
            planned.drop("modified_ns", "inode").join(target.record.written(), on="path", how="inner").select(STATE.names())
        )
        failed = selected.files.join(steps.put.join(written, on="path", how="anti"), on="path", how="semi")
        target.record.remember(pinned.reference.name, pl.concat([steps.keep, written, failed, unselected]))
        return work.report(steps, _rows_path(selection))


def rehearse(pinned: Pinned, folder: Path, selection: Selection, *, secret: bytes, force: bool = False) -> Plan:
    """The plan that `checkout` would follow; nothing is written. Raises as `checkout`."""
    if not folder.exists():
        files = _selected_files(selection, _EMPTY_STATE).with_columns(replace=pl.lit(value=False))
        return Plan(pl.DataFrame(schema=STATE), files, (), ())
    with Target.seen(folder, secret) as target:
        selected, _ = _split_state(target.record.state(), pinned.reference.name, folder, selection)
        return plan(target, selected, _selected_files(selection, selected), force=force)


_EMPTY_STATE = State(None, pl.DataFrame(schema=STATE), True)


def _split_state(state: State, name: str, folder: Path, selection: Selection) -> tuple[State, pl.DataFrame]:
    """The state of the selected kinds (files, rows), and the other files: `--no-files` leaves files as they are."""
    if state.name not in (None, name):
        raise CheckoutRefused(f"{folder} has a checkout of the data set {state.name}: check {name} out into another folder.")
    is_rows = pl.col("made_from").is_not_null()
    is_selected = (is_rows & (selection.rows is not None)) | (~is_rows & (selection.files is not None))
    return State(name, state.files.filter(is_selected), state.is_trusted), state.files.filter(~is_selected)


def _selected_files(selection: Selection, state: State) -> pl.DataFrame:
    """Files and rows in the form that `plan` compares. Rows that were written before keep their recorded sha256."""
    schema: dict[str, Any] = {**STATE, "store": pl.String, "key": pl.String, "version_id": pl.String, "offset": pl.Int64}
    parts = [pl.DataFrame(schema={name: schema[name] for name in PLAN_COLUMNS})]
    if selection.files is not None:
        parts.append(selection.files.with_columns(made_from=pl.lit(None, pl.String)).select(PLAN_COLUMNS))
    if selection.rows is not None:
        written = state.files.filter(pl.col("made_from") == selection.made_from)
        facts = {"path": selection.rows_path, "made_from": selection.made_from}
        facts |= {name: written[name][-1] if written.height else empty for name, empty in _NEW_ROWS.items()}
        parts.append(pl.DataFrame([facts], schema={name: schema[name] for name in PLAN_COLUMNS}))
    files = pl.concat(parts)
    if files["path"].is_duplicated().any():
        raise CheckoutRefused(f"The data set has a file {selection.rows_path}, where its rows go: use --no-rows.")
    return files


_NEW_ROWS: Mapping[str, Any] = {"sha256": UNKNOWN, "size_bytes": 0}


def _is_settled(state: State, steps: Plan) -> bool:
    """Whether the recorded state is up to date."""
    written = state.files.drop_nulls("inode")
    columns = ["path", "sha256", "modified_ns", "inode"]
    return (
        written.height == state.files.height == steps.keep.height
        and state.is_trusted
        and (written.join(steps.keep, on=columns, how="semi").height == written.height)
    )


def _rows_path(selection: Selection) -> str | None:
    return selection.rows_path if selection.rows is not None else None
