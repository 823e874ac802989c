"""Compares two data sets: rows, columns, drift, files, upstream tables, code and models."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from pipeline_assets.errors import NotComparable
from pipeline_assets.framework.declaration import Declaration
from pipeline_assets.versioning.diff import file_changes
from pipeline_assets.versioning.diff.comparison import CodeChange, Comparison, Files, Side, TableChange
from pipeline_assets.versioning.diff.tables import TableDiff, Version
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.reference import Reference
from pipeline_assets.versioning.pin.repository import FOLDER, Repository

Declared = Callable[[str], Declaration]


def compare(
    a: tuple[str, Pinned],
    b: tuple[str, Pinned],
    repository: Repository,
    declared: Declared,
    asset: str | None = None,
    examples: int = 5,
) -> Comparison:
    """Everything that differs between two open data sets, each with its name on the command line.

    asset: a table that both pin, instead of the pinned asset. declared: returns the declaration of an asset; called for
    tables only. Raises NotComparable for a folder and a table or for two assets, and as `TableDiff`.
    """
    old, new = a[1].reference, b[1].reference
    name = _asset(a[0], old, b[0], new, asset)
    table = TableDiff(declared(name), Version(a[1], name), Version(b[1], name), examples) if name else None
    with ThreadPoolExecutor(1, "diff") as pool:
        files = pool.submit(_files, a[1], b[1], examples)
        rows, drift = (table.rows, table.drift()) if table else (None, None)
    return Comparison(
        a=_side(a[0], old, name),
        b=_side(b[0], new, name),
        rows=rows,
        columns=table.columns() if table else None,
        drift=drift,
        files=files.result(),
        tables=_tables(old, new),
        code=_code(old, new, repository),
        models={
            kind: (old.models.get(kind), new.models.get(kind))
            for kind in sorted({*old.models, *new.models})
            if old.models.get(kind) != new.models.get(kind)
        },
    )


def _files(a: Pinned, b: Pinned, examples: int) -> Files:
    if a.reference.manifest.digest == b.reference.manifest.digest:
        return file_changes.compare(iter(()), iter(()), 0)
    with closing(a.contents()) as before, closing(b.contents()) as after:  # they use temporary files
        return file_changes.compare(before, after, examples)


def _asset(name_a: str, a: Reference, name_b: str, b: Reference, table: str | None) -> str | None:
    if table:
        if lacking := [name for name, reference in ((name_a, a), (name_b, b)) if table not in reference.tables]:
            common = ", ".join(sorted(a.tables.keys() & b.tables.keys())) or "none"
            raise NotComparable(f"{lacking[0]} pins no table {table}. Tables that both pin: {common}.")
        return table
    if a.asset != b.asset:
        kinds = [f"{name} is {reference.asset or 'a folder'}" for name, reference in ((name_a, a), (name_b, b))]
        raise NotComparable(
            f"{kinds[0]} and {kinds[1]}: only two versions of the same asset, or two folders, can be compared. Choose "
            "a table that both pin with --asset."
        )
    return a.asset


def _side(name: str, reference: Reference, asset: str | None) -> Side:
    table = reference.tables[asset] if asset else None
    return Side(
        told=name,
        identity=reference.identity,
        asset=asset,
        commit=reference.code.commit,
        clean=reference.code.clean,
        rows=reference.rows if asset == reference.asset else table.rows if table else None,
        first_day=table.first_day if table else None,
        last_day=table.last_day if table else None,
        files=reference.manifest.files,
        bytes=reference.manifest.bytes,
    )


def _tables(a: Reference, b: Reference) -> list[TableChange]:
    names = dict.fromkeys([*a.tables, *b.tables])
    pairs = [(name, a.tables.get(name), b.tables.get(name)) for name in names]
    return [
        TableChange(
            table=name,
            version_before=old.version if old else None,
            version_after=new.version if new else None,
            rows_before=old.rows if old else None,
            rows_after=new.rows if new else None,
            is_same=old is not None and new is not None and old.digest == new.digest,
        )
        for name, old, new in pairs
    ]


def _code(a: Reference, b: Reference, repository: Repository) -> CodeChange:
    old, new = a.code.commit, b.code.commit
    commits, changed = None, None
    if old and new:
        try:
            commits = int(repository.git("rev-list", "--count", f"{old}...{new}", "--"))
            paths = repository.git("diff", "--name-only", "-z", old, new, "--", ".", f":(exclude){FOLDER}")
            changed = [path for path in paths.split("\0") if path]
        except subprocess.CalledProcessError:
            commits = changed = None  # one of them is not in this clone
    return CodeChange(before=old, after=new, commits=commits, files=changed)
