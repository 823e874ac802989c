"""A data set's history and lineage for the terminal."""

from rich.text import Text
from rich.tree import Tree

from pipeline_assets.runtime.terminal import Terminal
from pipeline_assets.runtime.visible import one_line
from pipeline_assets.versioning.pin.history import History, Version
from pipeline_assets.versioning.pin.lineage import TableOrigin

RUNS_SHOWN = 4


def print_history(log: History, console: Terminal) -> None:
    """Print the versions, newest first."""
    for version in log.versions:
        console.print(
            Text(one_line(version.commit[:12] if version.commit else "not committed"), "bold"),
            f" {_origin(version)}",
        )
        console.print(f"  {one_line(_summary(version))}")
        if version.changes:
            console.print(f"  changed: {one_line(', '.join(version.changes))}")
        message = version.reference.message if version.reference else ""
        for text in dict.fromkeys(filter(None, (version.subject, message))):
            console.print(f"  {one_line(text)}")
    if log.is_cut:
        console.print("Older versions may be missing: this clone is shallow (`git fetch --unshallow`).")


def print_lineage(tables: list[TableOrigin], console: Terminal) -> None:
    """Print the tables behind the newest version as a tree; a table that appears again is only named."""
    if not tables:
        return
    by_name = {table.table: table for table in tables}
    root = Tree("Lineage of the newest version")
    printed: set[str] = set()
    pending = [(root, tables[0].table)]
    while pending:
        parent, name = pending.pop()
        table = by_name[name]
        if name in printed:
            parent.add(f"{one_line(name)} (as above)")
            continue
        printed.add(name)
        branch = parent.add(one_line(_table(table)))
        for run in table.runs[:RUNS_SHOWN]:
            branch.add(
                one_line(f"{run.days} days by run {run.run_id[:8]}, code {run.commit[:12] if run.commit else 'unknown'}")
            )
        if len(table.runs) > RUNS_SHOWN:
            branch.add(f"... and {len(table.runs) - RUNS_SHOWN} more runs")
        if not table.runs:
            branch.add("computed by runs that this ledger does not list")
        for place in table.outside:
            branch.add(one_line(place))
        pending += [(branch, upstream) for upstream in reversed(table.inputs)]
    console.print(root, soft_wrap=False)


def _origin(version: Version) -> str:
    return f"{version.at:%Y-%m-%d %H:%M} {one_line(version.author)}"


def _summary(version: Version) -> str:
    reference = version.reference
    if reference is None:
        return version.fault
    table = reference.table
    rows = f"{reference.asset}, {table.rows:,} rows of {table.first_day} to {table.last_day}" if table else "a folder"
    if selection := reference.selection:
        rows = f"{reference.asset}, {selection.rows:,} rows where {one_line(selection.where[:80])}"
    files = f"{reference.manifest.files:,} files, {reference.manifest.bytes / 1e6:,.1f} MB"
    return f"{rows}, {files}, identity {reference.identity[:16]}"


def _table(table: TableOrigin) -> str:
    span = f"{table.first_day} to {table.last_day}"
    return f"{table.table} version {table.version}: {table.rows:,} rows of {span}, digest {table.digest[:12]}"
