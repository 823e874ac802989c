"""Prints a comparison in the terminal."""

from typing import Any

from rich.table import Table

from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.runtime.visible import one_line
from pipeline_assets.versioning.diff.comparison import (
    CodeChange,
    ColumnChange,
    Columns,
    Comparison,
    Files,
    LabelChange,
    Rows,
    Side,
)

DRIFT_SHOWN = 12
FILES_SHOWN = 8


def print_comparison(comparison: Comparison, console: Terminal) -> None:
    """Print the differences only."""
    for letter, side in (("A", comparison.a), ("B", comparison.b)):
        console.print(f"{letter}  {one_line(told_side(side))}")
    if comparison.is_empty:
        console.print("The data are the same.")
    if comparison.rows:
        _print_rows(comparison.rows, console)
    for line in told_columns(comparison.columns) if comparison.columns else ():
        console.print(f"Column {one_line(line)}")
    _print_drift(comparison, console)
    _print_files(comparison.files, console)
    for table in comparison.tables:
        if not table.is_same and table.table != comparison.a.asset:
            versions = f"version {arrow(table.version_before, table.version_after)}"
            console.print(f"Upstream {one_line(table.table)}: {versions}, rows {arrow(table.rows_before, table.rows_after)}")
    for kind, (before, after) in comparison.models.items():
        console.print(f"Model {one_line(kind)}: {one_line(arrow(before, after))}")
    console.print(one_line(told_code(comparison.code)))


def told_side(side: Side) -> str:
    """One data set in one line."""
    content = f"{side.asset}, {side.rows:,} rows of {side.first_day} to {side.last_day}" if side.asset else "a folder"
    code = f"commit {side.commit[:12]}{'' if side.clean else ', with uncommitted changes'}" if side.commit else "no commit"
    return f"{side.told}: {content}, {side.files:,} files, {code}, identity {side.identity[:16]}"


def told_rows(rows: Rows) -> str:
    """The counts in one line."""
    return (
        f"Rows: {rows.before:,} to {rows.after:,}; {rows.added:,} added, {rows.removed:,} removed, {rows.changed:,} changed "
        f"({len(rows.days):,} days differ in their files)"
    )


def told_columns(columns: Columns) -> list[str]:
    """Changes of the schema, one line per column."""
    return [
        *(f"added: {name} ({dtype})" for name, dtype in columns.added.items()),
        *(f"removed: {name} ({dtype})" for name, dtype in columns.removed.items()),
        *(f"retyped, values not compared: {name} ({old} to {new})" for name, (old, new) in columns.retyped.items()),
    ]


def told_code(code: CodeChange) -> str:
    """Changes of the code, in one line."""
    if code.before == code.after:
        return "Code: the same commit" if code.before else "Code: no commit is named"
    commits = f"Code: {arrow(code.before and code.before[:12], code.after and code.after[:12])}"
    if code.files is None:
        return f"{commits}; the difference is unknown, since a commit is not in this repository (git fetch)"
    files = ", ".join(code.files[:FILES_SHOWN]) + (" ..." if len(code.files) > FILES_SHOWN else "")
    return f"{commits}, {code.commits} commits, {len(code.files)} files differ{': ' if files else ''}{files}"


def told_key(key: dict[str, Any]) -> str:
    """A row's key as short text."""
    return ", ".join(f"{name}={value}" for name, value in key.items())


def arrow(before: object, after: object) -> str:
    """From one value to another; a dash for none."""
    return " -> ".join(
        "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value) for value in (before, after)
    )


def told_label(label: LabelChange) -> str:
    """Changes of a label's values, in one line."""
    return (
        f"{label.column}: {label.appeared:,} have a value now, {label.vanished:,} no longer have one, "
        f"{label.moved:,} have another one"
    )


def _print_rows(rows: Rows, console: Terminal) -> None:
    console.print(told_rows(rows))
    for title, keys, count in (("added", rows.added_keys, rows.added), ("removed", rows.removed_keys, rows.removed)):
        for key in keys:
            console.print(f"  {title}: {one_line(told_key(key))}")
        if len(keys) < count:
            console.print(f"  {title}: ... {count - len(keys):,} more")
    for label in rows.labels:
        console.print(f"Label {one_line(told_label(label))}")
        _print_examples(label, console)
    if rows.columns:
        console.print("Columns with other values:")
    for column in rows.columns:
        console.print(f"  {one_line(column.column)}: {column.rows:,} rows")
        _print_examples(column, console)


def _print_examples(column: ColumnChange, console: Terminal) -> None:
    for example in column.examples:
        console.print(
            f"    {one_line(told_key(example.key))}: {one_line(str(example.before))} -> {one_line(str(example.after))}"
        )


def _print_drift(comparison: Comparison, console: Terminal) -> None:
    moved = [drift for drift in comparison.drift or () if drift.psi or drift.ks]
    if not moved:
        return
    table = Table(title="Drift, the farthest first")
    for column in ("column", "PSI", "KS", "mean", "missing"):
        table.add_column(column, justify="left" if column == "column" else "right")
    for drift in moved[:DRIFT_SHOWN]:
        means = [f"{value:.4g}" for value in (drift.mean_before, drift.mean_after) if value is not None]
        missing = (
            f"{drift.missing_before:.1%} -> {drift.missing_after:.1%}" if drift.missing_before or drift.missing_after else ""
        )
        ks = "" if drift.ks is None else f"{drift.ks:.4f}"
        table.add_row(one_line(drift.column), f"{drift.psi:.4f}", ks, " -> ".join(means), missing)
    console.print(table)
    if len(moved) > DRIFT_SHOWN:
        console.print(f"... and {len(moved) - DRIFT_SHOWN} more columns: see --json or --html")


def _print_files(files: Files, console: Terminal) -> None:
    if not (files.added or files.removed or files.changed):
        return
    console.print(
        f"Files: {files.added:,} added, {files.removed:,} removed, {files.changed:,} changed "
        f"({files.added_bytes / 1e6:,.1f} MB new, {files.removed_bytes / 1e6:,.1f} MB gone)"
    )
    for title, paths in (("added", files.added_paths), ("removed", files.removed_paths), ("changed", files.changed_paths)):
        for path in paths:
            console.print(f"  {title}: {one_line(path)}")
