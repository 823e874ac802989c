"""Compares the types of rows with those of a Delta table, whose writer would silently convert them, such as 2.7 to 2."""

import json
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, Schema

from resources.errors import TypesChanged


def require_types(name: str, uri: str, table: DeltaTable, rows: pa.Schema) -> None:
    """Raise TypesChanged if rows can't be written to a table without conversion."""
    if changed := differing(table, rows):
        changes = ", ".join(f"{column} is {then} there and {now} in the new rows" for column, (then, now) in changed.items())
        raise TypesChanged(
            f"The table {name} keeps the types that it began with: {changes}. Nothing was written. Give the column a new "
            f"name; or move {uri} away, with its versions in pins, and run again: all its days are computed again."
        )


def differing(table: DeltaTable, rows: pa.Schema) -> dict[str, tuple[str, str]]:
    """Columns with different types in table and rows: {name: (the table's type, the rows' type)}.

    Fields of structs are named `a.b`. Types are compared as Delta stores them: unsigned integers as signed ones, categories
    as strings.
    """
    return _differing(_fields(json.loads(table.schema().to_json())), _fields(json.loads(Schema.from_arrow(rows).to_json())))


def _fields(struct: Any) -> dict[str, Any]:
    return {field["name"]: field["type"] for field in struct["fields"]}


def _differing(table: dict[str, Any], rows: dict[str, Any], prefix: str = "") -> dict[str, tuple[str, str]]:
    changes: dict[str, tuple[str, str]] = {}
    for name in [name for name in table if name in rows]:
        changes |= _of_type(table[name], rows[name], prefix + name)
    return changes


def _of_type(table: Any, rows: Any, name: str) -> dict[str, tuple[str, str]]:
    """The differences of one type. A nested type is an object with its kind under `type`."""
    if isinstance(table, str) or isinstance(rows, str) or table["type"] != rows["type"]:
        return {} if table == rows else {name: (_named(table), _named(rows))}
    if table["type"] == "struct":
        return _differing(_fields(table), _fields(rows), f"{name}.")
    parts = {"array": ("elementType",), "map": ("keyType", "valueType")}[table["type"]]
    changes: dict[str, tuple[str, str]] = {}
    for part in parts:
        changes |= _of_type(table[part], rows[part], name)
    return changes


def _named(kind: Any) -> str:
    return kind if isinstance(kind, str) else str(kind["type"])
