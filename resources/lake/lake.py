"""The lake: Delta tables on S3 or in a folder, partitioned by `day`. `lake_io` connects them to assets.

A write replaces whole days in one commit; a reader sees the version before or after it. Any Delta reader can open the tables
by path: `{lake_url}/tables/{name}`.
"""

import random
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import dagster as dg
import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from polars.exceptions import PolarsError
from pydantic import Field

from resources.addresses import LOOPBACK
from resources.errors import NotFound, StoreUnavailable, TableClosed, TableMissing
from resources.lake.commits import COMMIT_ID, batches, firsts, version_of
from resources.lake.delta_types import require_types
from resources.lake.newest import Newest
from resources.lake.removed_versions import RemovedVersions
from resources.lake.spool import Parts, to_arrow
from resources.objects.store import ObjectStore
from resources.settings import Settings, plain

TIMEOUT_S = 60.0
"""Timeout of one S3 request, in seconds. With all retries at most 2.5 times as long."""
RETRIES = 5
BACKOFF = {"init_backoff": "200ms", "max_backoff": "5s", "base": "3"}
"""A few seconds in total, with jitter: an S3 server answers 500 for the first moments after its start."""
COMMIT_TRIES = 12
"""Attempts for a commit that conflicts with others, with jitter between them."""
APPEND_ONLY = "delta.appendOnly"
"""The property of a table whose rows no writer may replace. Ours are closed with it for a while (`erasing`)."""
PATIENCE_S = 120.0
"""How long a commit waits for a closed table, in seconds."""
STATISTICS = {"delta.dataSkippingNumIndexedCols": "0"}
"""The log of a table counts rows and has no smallest and largest values: they would be titles, places and keys of people."""

_STORE_SAYS = re.compile(r"Generic (S3|LocalFileSystem) error|object-store error|HTTP error")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ENCODED_IN_URLS = re.compile(r"""[^\x21-\x7e]|["#%<>?`{}]""")


@dataclass(frozen=True)
class Committed:
    """A commit: its version, its id and the days that it replaced; no days if there was no commit."""

    days: tuple[date, ...] = ()
    version: int = -1
    commit_id: str = ""


class Lake(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Delta Lake tables on S3 or in a folder: one table for each asset, one partition for each UTC day.

    They can be read without Darkroom: `polars.scan_delta("s3://lake/tables/training_table")`.
    """

    url: str
    endpoint: str = ""
    access_key: str = Field(default="", repr=False)
    secret_key: str = Field(default="", repr=False)
    region: str = "us-east-1"
    timeout_s: float = TIMEOUT_S

    @property
    def storage_options(self) -> dict[str, str]:
        """Options with which `deltalake` and `polars.scan_delta` reach the bucket. They contain secrets: not for a log."""
        if not self.url.startswith("s3://"):
            return {}
        options = {"aws_region": self.region, "aws_conditional_put": "etag"}
        options |= {"timeout": f"{int(1000 * self.timeout_s)}ms", "connect_timeout": "5s"}
        if self.access_key:
            options |= {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        if self.endpoint:
            options |= {"aws_endpoint_url": self.endpoint, "aws_virtual_hosted_style_request": "false"}
        if urlparse(self.endpoint).hostname in LOOPBACK:
            options["aws_allow_http"] = "true"
        return options

    @property
    def store(self) -> ObjectStore:
        """The lake's files by key, for files that are no tables."""
        url = self.url if "://" in self.url else Path(self.url).resolve().as_uri()
        return ObjectStore.open(
            url,
            endpoint=self.endpoint or None,
            access_key=self.access_key or None,
            secret_key=self.secret_key or None,
            region=self.region,
            timeout_s=self.timeout_s,
        )

    @property
    def _retry_ms(self) -> int:
        return int(1500 * self.timeout_s)

    @property
    def delta_options(self) -> dict[str, str]:
        """The same with retries for `deltalake`, whose option names and types differ from those of polars."""
        if not self.url.startswith("s3://"):
            return {}
        backoff = {f"backoff_config.{name}": value for name, value in BACKOFF.items()}
        return {**self.storage_options, "max_retries": str(RETRIES), "retry_timeout": f"{self._retry_ms}ms", **backoff}

    @property
    def polars_options(self) -> dict[str, Any] | None:
        """The same for `polars.scan_delta` and `scan_parquet`."""
        if not self.url.startswith("s3://"):
            return None
        return {**self.storage_options, "max_retries": RETRIES, "retry_timeout_ms": self._retry_ms}

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Translate errors of deltalake and polars to StoreUnavailable if the store does not answer; others pass."""
        try:
            yield
        except (OSError, DeltaError, PolarsError) as error:
            message = " ".join(_COLOURS.sub("", str(error)).replace("↳", "").split())
            if isinstance(error, CommitFailedError) or not _STORE_SAYS.search(message):
                raise
            raise self._unreachable(message) from None

    def _unreachable(self, message: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"The lake at {self.url} can't be reached. Start the embedded server with `darkroom up`, or set "
            f"DARKROOM_LAKE_URL and DARKROOM_S3_ENDPOINT; then run again. The store said: {message[:300]}"
        )

    def uri(self, table: str) -> str:
        """The path of a table for any Delta reader.

        Raises ValueError for a folder with characters that a URL encodes: polars can't read Delta tables there.
        """
        root = self.url.rstrip("/")
        if root.startswith("file://"):
            root = unquote(urlparse(root).path)
            if _ENCODED_IN_URLS.search(root):
                raise ValueError(
                    f"The lake can't lie in {root}: choose a path of ASCII letters, digits and -_. without spaces."
                )
        return f"{root}/tables/{table}"

    def table(self, name: str, version: int | None = None) -> DeltaTable:
        """Open a table for reading, maybe shared with other readers. Raises TableMissing if no run has written it yet."""
        table = self.find(name) if version is None else self._at(name, version)
        if table is None:
            raise TableMissing(
                f"The table {name} does not exist yet. Materialize the asset {name} first: `make run`, or the UI."
            )
        return table

    def find(self, name: str) -> DeltaTable | None:
        """The newest version of a table, for reading; None if no run has written it yet."""
        newest = _newest(self.uri(name), tuple(self.delta_options.items()))
        log = f"tables/{name}/_delta_log/"
        try:
            return newest.table(lambda version: self._etag(f"{log}{version:020}.json"), lambda: self._opened(name))
        except TableNotFoundError:
            return None

    def _etag(self, key: str) -> str:
        """The ETag of an object; empty if there is none."""
        try:
            return self.store.head(key).etag or ""
        except NotFound:
            return ""
        except StoreUnavailable as error:
            raise self._unreachable(str(error)) from None

    def exists(self, name: str) -> bool:
        """Whether this table exists."""
        return self.find(name) is not None

    def version(self, name: str) -> int:
        """The newest Delta version of a table, -1 if there is none."""
        table = self.find(name)
        return -1 if table is None else table.version()

    def _at(self, name: str, version: int) -> DeltaTable | None:
        newest = self.find(name)
        if newest is None or newest.version() == version:
            return newest
        return self._opened(name, version)

    def _opened(self, name: str, version: int | None = None) -> DeltaTable:
        """Open a table anew. Raises TableNotFoundError."""
        with self.reached():
            return DeltaTable(self.uri(name), version=version, storage_options=self.delta_options)

    def scan(self, name: str, days: Sequence[date] | None = None, version: int | None = None) -> pl.LazyFrame:
        """A lazy frame of a table's rows; with `days`, only files of these days are opened.

        Raises TableMissing if no run has written it yet, or a clean-up has removed files of this version and these days.
        """
        if version is not None:
            self._require_files(name, version, days)
        frame = pl.scan_delta(self.table(name, version), storage_options=self.polars_options)
        if days is None:
            return frame
        return frame.filter(pl.col("day").is_in(pl.Series(list(days), dtype=pl.Date).implode()))

    def newest(self, name: str, where: pl.Expr, count: int, by: Sequence[str]) -> pl.DataFrame:
        """At most `count` rows that fulfil a condition: of the newest days, and the last of these by some columns.

        Older days are not opened once there are enough. Raises TableMissing.
        """
        rows = self.scan(name, []).collect()
        for day in sorted({partition["day"] for partition in self.table(name).partitions()}, reverse=True):
            of_day = self.scan(name, [date.fromisoformat(day)]).filter(where).sort(by).tail(count - rows.height)
            rows = pl.concat([of_day.collect(), rows])
            if rows.height >= count:
                break
        return rows

    def _require_files(self, name: str, version: int, days: Sequence[date] | None) -> None:
        try:
            removed = RemovedVersions.loads(self.store.get(RemovedVersions.key(name)))
        except NotFound:
            return
        if removed.lacks(version, days):
            raise TableMissing(
                f"Version {version} of the table {name} was cleaned up: no pin and none of the newest materializations "
                "named it. Read a pinned version (`darkroom log`), or the newest."
            )

    def replace(
        self, name: str, days: Sequence[date], rows: pl.DataFrame | Parts, *, note: dict[str, str] | None = None
    ) -> int:
        """Replace these days by `rows`, as `commit` does. Returns the version of the commit."""
        return self.commit(name, days, rows, note=note).version

    def commit(
        self,
        name: str,
        days: Sequence[date],
        rows: pl.DataFrame | Parts,
        *,
        note: dict[str, str] | None = None,
        owned_days: Callable[[], Set[date]] | None = None,
    ) -> Committed:
        """Replace these days by `rows` in one commit.

        owned_days: returns the days that may still be committed; the others are left out. It is called after the table was
        read, and again after a conflict, so that a later commit of such a day makes this one a conflict. Parts are written
        one by one. Concurrent writes of other days of the same table succeed: a lost race is tried again.

        Raises ValueError if a row belongs to another day or none, or if `days` is empty; StoreUnavailable if the store does
        not answer: the commit may exist then, and it is safe to repeat it; TypesChanged if a column of the table has another
        type, TableClosed if rows are being erased from the table for long: nothing is written then.
        """
        days = sorted(set(days))
        if not days:
            raise ValueError(f"{name}: no days are named, so there is nothing to replace")
        parts = Parts.of(rows) if isinstance(rows, pl.DataFrame) else rows
        errors: list[ValueError] = []
        for attempt in range(COMMIT_TRIES):
            try:
                with self.reached():
                    return self._commit(name, days, parts, errors, note or {}, owned_days)
            except CommitFailedError:
                if attempt == COMMIT_TRIES - 1:
                    raise
                time.sleep(random.uniform(0.02, 0.2) * (attempt + 1))  # noqa: S311  jitter, not a secret
            except DeltaError:
                if errors:
                    raise errors[0] from None
                raise
        raise AssertionError("unreachable")

    def _commit(
        self,
        name: str,
        days: Sequence[date],
        parts: Parts,
        errors: list[ValueError],
        note: dict[str, str],
        owned_days: Callable[[], Set[date]] | None,
    ) -> Committed:
        schema = to_arrow(pl.DataFrame(schema=parts.schema)).schema
        try:
            table = self._opened(name)
        except TableNotFoundError:
            self._create(name, schema)
            table = self._opened(name)
        table = self._open_for_commits(name, table)
        require_types(name, self.uri(name), table, schema)
        committed_days = days if owned_days is None else sorted(owned_days() & set(days))
        if not committed_days:
            return Committed()
        if not STATISTICS.items() <= table.metadata().configuration.items():  # of an earlier Darkroom
            table.alter.set_table_properties(STATISTICS)
        commit_id = secrets.token_hex(16)
        write_deltalake(
            table,
            pa.RecordBatchReader.from_batches(schema, batches(name, days, committed_days, parts, errors)),
            mode="overwrite",
            predicate=" OR ".join(f"day = '{day.isoformat()}'" for day in committed_days),
            schema_mode="merge",
            commit_properties=CommitProperties(
                custom_metadata={**note, COMMIT_ID: commit_id}, app_transactions=firsts(table, committed_days)
            ),
        )
        return Committed(tuple(committed_days), version_of(table, commit_id), commit_id)

    def _open_for_commits(self, name: str, table: DeltaTable) -> DeltaTable:
        """The table, as soon as it takes commits."""
        until = time.monotonic() + PATIENCE_S
        while table.metadata().configuration.get(APPEND_ONLY) == "true":
            if time.monotonic() > until:
                raise TableClosed(
                    f"Rows are being erased from all versions of {name}, or were when a process was killed: let the erasure "
                    "end, or run it again; then run this again."
                )
            time.sleep(0.5)
            table = self._opened(name)
        return table

    def require_types(self, name: str, schema: pl.Schema) -> None:
        """Raise TypesChanged if rows of this schema can't be written to a table without conversion."""
        if (table := self.find(name)) is not None:
            require_types(name, self.uri(name), table, to_arrow(pl.DataFrame(schema=schema)).schema)

    def _create(self, name: str, schema: pa.Schema) -> None:
        if not self.url.startswith("s3://"):
            Path(self.uri(name)).mkdir(parents=True, exist_ok=True)
        DeltaTable.create(
            self.uri(name),
            schema=schema,
            mode="ignore",
            partition_by=["day"],
            storage_options=self.delta_options,
            configuration={"delta.logRetentionDuration": "interval 3650 days", **STATISTICS},
        )


@lru_cache(maxsize=128)
def _newest(uri: str, options: tuple[tuple[str, str], ...]) -> Newest:
    return Newest()


def open_lake(settings: Settings) -> Lake:
    """Open the lake of the settings, for use outside Dagster."""
    return Lake(
        url=settings.lake_url,
        endpoint=settings.s3_endpoint or "",
        access_key=plain(settings.s3_access_key),
        secret_key=plain(settings.s3_secret_key),
        region=settings.s3_region,
    )
