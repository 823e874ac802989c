"""Dagster's instance for runs inside this process. What it is configured by is in `dagster_home`."""

from typing import Any

import dagster as dg
import sqlalchemy.event
import sqlalchemy.exc
from sqlalchemy.pool import QueuePool

from resources.settings import Settings


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Dagster's instance for runs inside this process, by `cli.yaml`.

    Dagster's storage opens a connection for each event unless told that it serves many requests: a run of three assets with
    nothing new then opens 166. Here they are kept, and one that has died is replaced when it is taken.
    """
    instance = dg.DagsterInstance.from_config(str(settings.dagster_home), "cli.yaml")
    if not sqlalchemy.event.contains(QueuePool, "checkout", _replace_if_dead):
        sqlalchemy.event.listen(QueuePool, "checkout", _replace_if_dead)
    instance.optimize_for_webserver(statement_timeout=0, pool_recycle=-1, max_overflow=20)
    return instance


def _replace_if_dead(connection: Any, _record: object, _proxy: object) -> None:
    """A ping before use, as SQLAlchemy's documentation has it for pools that are made elsewhere."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
    except connection.Error as error:
        raise sqlalchemy.exc.DisconnectionError from error
