"""A comparison for the terminal."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline_assets.versioning.comparison import (
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


def print_comparison(found: Comparison, console: Console) -> None:
    """Print all that differs; what is the same takes no room."""
    for letter, side in (("A", found.a), ("B", found.b)):
        console.print(f"{letter}  {escape(told_side(side))}")
    if found.is_empty:
        console.print("The data are the same.")
    if found.rows:
        _print_rows(found.rows, console)
    for line in told_columns(found.columns) if found.columns else ():
        console.print(f"Column {escape(line)}")
    _print_drift(found, console)
    _print_files(found.files, console)
    for table in found.tables:
        if not table.is_same and table.table != found.a.asset:
            versions = f"version {arrow(table.version_before, table.version_after)}"
            console.print(f"Upstream {table.table}: {versions}, rows {arrow(table.rows_before, table.rows_after)}")
    for kind, (before, after) in found.models.items():
        console.print(f"Model {escape(kind)}: {escape(arrow(before, after))}")
    console.print(escape(told_code(found.code)))


def told_side(side: Side) -> str:
    """One data set in a line."""
    what = f"{side.asset}, {side.rows:,} rows of {side.first_day} to {side.last_day}" if side.asset else "a folder"
    code = f"commit {side.commit[:12]}{'' if side.clean else ', with uncommitted changes'}" if side.commit else "no commit"
    return f"{side.told}: {what}, {side.files:,} files, {code}, identity {side.identity[:16]}"


def told_rows(rows: Rows) -> str:
    """The counts in a line."""
    return (
        f"Rows: {rows.before:,} to {rows.after:,}; {rows.added:,} added, {rows.removed:,} removed, {rows.changed:,} changed "
        f"({len(rows.days):,} days differ in their files)"
    )


def told_columns(columns: Columns) -> list[str]:
    """What has become of the schema, a line for each column that is not what it was."""
    return [
        *(f"added: {name} ({dtype})" for name, dtype in columns.added.items()),
        *(f"removed: {name} ({dtype})" for name, dtype in columns.removed.items()),
        *(f"retyped, values not compared: {name} ({old} to {new})" for name, (old, new) in columns.retyped.items()),
    ]


def told_code(code: CodeChange) -> str:
    """What has become of the code, in a line."""
    if code.before == code.after:
        return "Code: the same commit" if code.before else "Code: no commit is named"
    told = f"Code: {arrow(code.before and code.before[:12], code.after and code.after[:12])}"
    if code.files is None:
        return f"{told}; what differs can't be said, since a commit is not in this repository (git fetch)"
    shown = ", ".join(code.files[:FILES_SHOWN]) + (" ..." if len(code.files) > FILES_SHOWN else "")
    return f"{told}, {code.commits} commits, {len(code.files)} files differ{': ' if shown else ''}{shown}"


def told_key(key: dict[str, Any]) -> str:
    """A row's key in a few words."""
    return ", ".join(f"{name}={value}" for name, value in key.items())


def arrow(before: object, after: object) -> str:
    """From one value to another; a dash for none."""
    return " -> ".join(
        "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value) for value in (before, after)
    )


def told_label(label: LabelChange) -> str:
    """How a label's values have changed, in a line."""
    return (
        f"{label.column}: {label.appeared:,} have a value now, {label.vanished:,} have none any more, "
        f"{label.moved:,} have another one"
    )


def _print_rows(rows: Rows, console: Console) -> None:
    console.print(told_rows(rows))
    for title, keys, count in (("added", rows.added_keys, rows.added), ("removed", rows.removed_keys, rows.removed)):
        for key in keys:
            console.print(f"  {title}: {escape(told_key(key))}")
        if len(keys) < count:
            console.print(f"  {title}: ... {count - len(keys):,} more")
    for label in rows.labels:
        console.print(f"Label {escape(told_label(label))}")
        _print_examples(label, console)
    if rows.columns:
        console.print("Columns with other values:")
    for column in rows.columns:
        console.print(f"  {escape(column.column)}: {column.rows:,} rows")
        _print_examples(column, console)


def _print_examples(column: ColumnChange, console: Console) -> None:
    for one in column.examples:
        console.print(f"    {escape(told_key(one.key))}: {escape(str(one.before))} -> {escape(str(one.after))}")


def _print_drift(found: Comparison, console: Console) -> None:
    moved = [one for one in found.drift or () if one.psi or one.ks]
    if not moved:
        return
    table = Table(title="Drift, the farthest first")
    for column in ("column", "PSI", "KS", "mean", "missing"):
        table.add_column(column, justify="left" if column == "column" else "right")
    for one in moved[:DRIFT_SHOWN]:
        means = [f"{value:.4g}" for value in (one.mean_before, one.mean_after) if value is not None]
        missing = f"{one.missing_before:.1%} -> {one.missing_after:.1%}" if one.missing_before or one.missing_after else ""
        ks = "" if one.ks is None else f"{one.ks:.4f}"
        table.add_row(escape(one.column), f"{one.psi:.4f}", ks, " -> ".join(means), missing)
    console.print(table)
    if len(moved) > DRIFT_SHOWN:
        console.print(f"... and {len(moved) - DRIFT_SHOWN} more columns: see --json or --html")


def _print_files(files: Files, console: Console) -> None:
    if not (files.added or files.removed or files.changed):
        return
    console.print(
        f"Files: {files.added:,} added, {files.removed:,} removed, {files.changed:,} changed "
        f"({files.added_bytes / 1e6:,.1f} MB new, {files.removed_bytes / 1e6:,.1f} MB gone)"
    )
    for title, paths in (("added", files.added_paths), ("removed", files.removed_paths), ("changed", files.changed_paths)):
        for path in paths:
            console.print(f"  {title}: {escape(path)}")
