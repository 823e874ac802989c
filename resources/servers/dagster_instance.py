"""Dagster's instance for runs inside this process, configured by `dagster_home`."""

import time
from collections.abc import Callable
from typing import Any

import dagster as dg
import sqlalchemy.event
import sqlalchemy.exc
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from resources.dagster_private import keep_connections, store_plans_together, wrap_questions
from resources.settings import Settings

IDLE_S = 0.1
"""A connection that was used within this time is not tried before it is used again: no server restarts in less."""
RETURNED_AT = "returned_at"
"""When a connection was given back to its pool, by the monotonic clock."""


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Dagster's instance for runs inside this process, by `cli.yaml`.

    By default Dagster's storage opens a connection for each event, and asks the database's catalog before each whether a
    table exists. Here connections are pooled or, of SQLite's files, kept; a dead one of a pool is replaced at checkout;
    what exists is asked once; what a run plans is one statement.
    """
    instance = dg.DagsterInstance.from_config(str(settings.dagster_home), "cli.yaml")
    if not sqlalchemy.event.contains(QueuePool, "checkout", _replace_if_dead):
        sqlalchemy.event.listen(QueuePool, "checkin", _note_the_time)
        sqlalchemy.event.listen(QueuePool, "checkout", _replace_if_dead)
    instance.optimize_for_webserver(statement_timeout=0, pool_recycle=-1, max_overflow=20)
    wrap_questions(instance.event_log_storage, _yes_once)
    keep_connections(instance.event_log_storage)
    store_plans_together(instance.event_log_storage)
    return instance


def _yes_once(ask: Callable[..., bool]) -> Callable[..., bool]:
    """The same question, which is not asked again after a yes: what the schema has stays. Its last argument is a name."""
    known: set[str] = set()

    def answer(*arguments: Any) -> bool:
        if arguments[-1] not in known and ask(*arguments):
            known.add(arguments[-1])
        return arguments[-1] in known

    return answer


def _note_the_time(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info[RETURNED_AT] = time.monotonic()


def _replace_if_dead(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """A ping before use, of a connection that was idle. Source: SQLAlchemy, "Custom / Legacy Pessimistic Ping"."""
    if time.monotonic() - record.info.get(RETURNED_AT, -IDLE_S) < IDLE_S:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
    except connection.Error as error:
        raise sqlalchemy.exc.DisconnectionError from error
