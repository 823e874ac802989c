"""What databases hold: the application's tables, Dagster's events, the online store and the questions in labeling tools."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.framework.personal import Mark
from pipeline_assets.privacy.holding import Holding, Stores
from pipeline_assets.privacy.person import Person, found_in, rows_of, without_others
from pipeline_assets.serving.state.layout import photo_key, user_key
from resources.database.contract import Twin
from resources.settings import plain

USER, PHOTO, KEY = Mark("user", subject=True), Mark("photo", subject=True), Mark("key", subject=True)
HASH, TASK, WHO = Mark("hash", subject=True), Mark("task", subject=True), Mark("pseudonym", subject=True)
TEXT = Mark("text", content=True)
TABLES: Mapping[str, Mapping[str, Mark]] = {
    "users": {"user_id": USER, "name": TEXT},
    "photos": {"photo_id": PHOTO, "user_id": USER, "key": KEY, "title": TEXT, "location": TEXT, "details": TEXT},
    "objects": {"key": KEY},
    "object_fates": {"key": KEY},
    "reconciled": {"key": KEY},
    "reconciliations": {"place": Mark("key", content=True)},
    "results": {"key": HASH},
    "imports": {"source": TEXT, "sha256": Mark("hash"), "name": TEXT, "key": KEY},
    "import_runs": {"source": TEXT},
    "simulated_truth": {"photo_id": PHOTO},
    "queue_rejects": {"body": TEXT},
    "annotations": {"key": KEY, "labels": TEXT, "annotator": WHO},
    "unread": {"item": TEXT},
    "label_requests": {"task_key": TASK, "key": KEY, "sha256": Mark("hash")},
    "label_annotators": {"pseudonym": WHO},
    "label_answers": {"task_key": TASK, "annotator": WHO, "answer_json": TEXT, "extra_json": TEXT},
    "label_campaigns": {"definition": TEXT},
}
"""Columns of the application's tables that hold something of a person."""
NOBODYS = {
    "migrations": "name",
    "objects": "bucket version_id etag",
    "object_days": "bucket",
    "object_fates": "bucket version_id fate fate_id",
    "reconciled": "version_id reconciliation_id",
    "reconciliations": "bucket reconciliation_id",
    "materializations": "asset digest code_version inputs_digest inputs git_commit run_id parts commit_id since_id",
    "results": "kind chunk",
    "import_runs": "digest import_id",
    "queue_rejects": "queue message_id reason",
    "annotations": "target",
    "unread": "asset reason",
    "claims": "who process spans claim_id",
    "day_writers": "asset token",
    "label_campaigns": "campaign question_digest",
    "label_requests": "tool tool_task_id campaign target",
    "label_annotators": "source external_id",
    "label_answers": "source source_id",
    "label_projects": "tool campaign project_id pulled_since pass_began",
}
"""Other columns of texts and ids: names of ours, of tools, of runs and of versions."""
COLUMNS = Twin(
    postgres="select column_name as name from information_schema.columns where table_name = $1 "
    "and table_schema = current_schema() order by ordinal_position",
    sqlite="select name from pragma_table_info($1)",
)


def application(stores: Stores, person: Person) -> Iterator[Holding]:
    """Rows of the application's tables."""
    for table, marks in TABLES.items():
        rows = rows_of(_candidates(stores, table, marks, person), marks, person)
        if rows.own.height or rows.mentions:
            yield Holding(table, rows.own.height, rows=without_others(rows.own, marks, person), mentions=rows.mentions)


def _candidates(stores: Stores, table: str, marks: Mapping[str, Mark], person: Person) -> pl.DataFrame:
    """Rows that may be the person's, all columns as text: of tables with ids by these, of others all."""
    names = stores.database.read(COLUMNS, (table,))["name"].to_list()
    columns = ", ".join(f'cast("{name}" as text) as "{name}"' for name in names)
    select = f'select {columns} from "{table}"'  # noqa: S608  names of our own migrations
    if any(mark.content for name, mark in marks.items()) and not any(mark.subject for mark in marks.values()):
        return stores.database.read(select)
    parts = [
        stores.database.read(_matching(select, name), (json.dumps([str(value) for value in values]),))
        for name, mark in marks.items()
        if mark.subject and mark.personal and (values := person.values(mark.personal))
    ]
    schema = dict.fromkeys(names, pl.String)
    texts = [part.select(pl.col(names).cast(pl.String)) for part in parts]
    return pl.concat([pl.DataFrame(schema=schema), *texts]).unique(maintain_order=True)


def _matching(select: str, column: str) -> Twin:
    """Rows with a value of a JSON list, the parameter."""
    text = f'{select} where cast("{column}" as text) in '
    return Twin(
        f"{text}(select json_array_elements_text($1::json))",
        f"{text}(select value from json_each($1))",  # noqa: S608  names of our own migrations
    )


def labeling_tools(stores: Stores, person: Person) -> Iterator[Holding]:
    """Questions about the person's items that were sent to a labeling tool, by tool: the tool has copies of the items."""
    requests = _candidates(stores, "label_requests", TABLES["label_requests"], person).drop_nulls("tool_task_id")
    for (tool,), rows in requests.group_by("tool", maintain_order=True):
        yield Holding(str(tool), rows.height, rows=rows)


def online(stores: Stores, person: Person) -> Iterator[Holding]:
    """Values of the user and of their photos in each generation of the online store that can be read."""
    store = stores.resources["online"].open()
    keys = [user_key(person.user_id), *map(photo_key, sorted(person.photo_ids))]
    try:
        for generation in store.generations():
            _, values = store.read(keys, of=generation)
            held = [(key.decode(), value.hex()) for key, value in zip(keys, values, strict=True) if value is not None]
            if held:
                rows = pl.DataFrame(held, schema={"key": pl.String, "packed_hex": pl.String}, orient="row")
                yield Holding(f"generation {generation.number}", len(held), rows=rows)
    finally:
        store.close()


def dagster(stores: Stores, person: Person) -> Iterator[Holding]:
    """Rows of Dagster's own database that name the person, by table. Pictures in it can't be searched."""
    url = plain(stores.settings.dagster_postgres_url)
    found = _in_postgres(url, person) if url else naming_rows(stores.settings.dagster_home, person)
    for name, count in found:
        if count:
            yield Holding(name, count)


def naming_rows(folder: Path, person: Person) -> Iterator[tuple[str, int]]:
    """How many rows of each table name the person, of all SQLite files of Dagster below a folder."""
    for path in sorted(folder.rglob("*.db")):
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
                rows = connection.execute(f'select * from "{table}"')  # noqa: S608  the name is the catalog's
                yield f"{path.relative_to(folder)}: {table}", _count(rows.fetchmany, person)


def _in_postgres(url: str, person: Person) -> Iterator[tuple[str, int]]:
    import psycopg2
    from psycopg2 import sql

    with closing(psycopg2.connect(url)) as connection:
        connection.set_session(readonly=True)
        with connection.cursor() as cursor:
            cursor.execute("select tablename from pg_tables where schemaname = current_schema() order by 1")
            tables = [table for (table,) in cursor.fetchall()]
        for table in tables:
            with connection.cursor(name="rows") as cursor:
                cursor.execute(sql.SQL("select t::text from {} t").format(sql.Identifier(table)))
                yield table, _count(cursor.fetchmany, person)


def _count(fetch: Callable[[int], list[tuple[Any, ...]]], person: Person) -> int:
    """How many rows name the person; a thousand are in memory."""
    count = 0
    while rows := fetch(1_000):
        count += int(found_in(pl.Series("line", [" ".join(map(str, row)) for row in rows], dtype=pl.String), person).sum())
    return count
