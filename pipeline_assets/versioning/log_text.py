"""A data set's history and lineage for the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from pipeline_assets.versioning.history import History, Version
from pipeline_assets.versioning.lineage import TableOrigin

RUNS_SHOWN = 4


def print_history(found: History, console: Console) -> None:
    """Print the versions, newest first."""
    for version in found.versions:
        console.print(f"[bold]{escape(version.commit[:12] if version.commit else 'not committed')}[/bold]  {_when(version)}")
        console.print(f"  {escape(_what(version))}")
        if version.changes:
            console.print(f"  changed: {escape(', '.join(version.changes))}")
        said = version.reference.message if version.reference else ""
        for text in dict.fromkeys(filter(None, (version.subject, said))):
            console.print(f"  {escape(text)}")
    if found.is_cut:
        console.print("Older versions may be missing: this clone is shallow (`git fetch --unshallow`).")


def print_lineage(tables: list[TableOrigin], console: Console) -> None:
    """Print the tables behind the newest version as a tree; one that was shown is named, and not shown again."""
    if not tables:
        return
    by_name = {table.table: table for table in tables}
    root = Tree("Lineage of the newest version")
    shown: set[str] = set()
    pending = [(root, tables[0].table)]
    while pending:
        above, name = pending.pop()
        table = by_name[name]
        if name in shown:
            above.add(f"{name} (as above)")
            continue
        shown.add(name)
        branch = above.add(escape(_table(table)))
        for run in table.runs[:RUNS_SHOWN]:
            branch.add(
                escape(f"{run.days} days by run {run.run_id[:8]}, code {run.commit[:12] if run.commit else 'unknown'}")
            )
        if len(table.runs) > RUNS_SHOWN:
            branch.add(f"... and {len(table.runs) - RUNS_SHOWN} more runs")
        if not table.runs:
            branch.add("made by runs that this ledger has not seen")
        for place in table.outside:
            branch.add(escape(place))
        pending += [(branch, one) for one in reversed(table.inputs)]
    console.print(root, soft_wrap=False)


def _when(version: Version) -> str:
    return f"{version.at:%Y-%m-%d %H:%M} {escape(version.author)}"


def _what(version: Version) -> str:
    reference = version.reference
    if reference is None:
        return version.fault
    table = reference.table
    rows = f"{reference.asset}, {table.rows:,} rows of {table.first_day} to {table.last_day}" if table else "a folder"
    files = f"{reference.manifest.files:,} files, {reference.manifest.bytes / 1e6:,.1f} MB"
    return f"{rows}, {files}, identity {reference.identity[:16]}"


def _table(table: TableOrigin) -> str:
    span = f"{table.first_day} to {table.last_day}"
    return f"{table.table} version {table.version}: {table.rows:,} rows of {span}, digest {table.digest[:12]}"
