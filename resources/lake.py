"""The lake: Delta tables on S3 or a folder, partitioned by `day`, and the one IO manager through which assets use them.

A write replaces whole days in one commit; a reader sees the version before it or the version after it. Any Delta reader
opens the tables by path: `{lake_url}/tables/{name}`.
"""

import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import dagster as dg
import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from polars.exceptions import PolarsError

from resources.dropped import Dropped
from resources.errors import NotFound, StoreUnavailable, TableMissing
from resources.object_store import ObjectStore
from resources.settings import Settings, plain
from resources.spool import Parts, to_arrow

EMPTY_IF_MISSING = "darkroom/empty_if_missing"
"""Metadata of an input for which a table that no run has written yet holds nothing, instead of being an error."""
TIMEOUT_S = 60.0
"""Of one request to S3. Together with its retries it gives up after two and a half times this."""
RETRIES = 5
COMMIT_TRIES = 12
"""A conflicting commit is read again and retried this often, with jitter, before the run gives up."""

_STORE_SAYS = re.compile(r"Generic (S3|LocalFileSystem) error|object-store error|HTTP error")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ENCODED_IN_URLS = re.compile(r"""[^\x21-\x7e]|["#%<>?`{}]""")


@dataclass(frozen=True)
class Replacement:
    """Rows that replace exactly these days of a table. No days: nothing is written."""

    days: Sequence[date]
    rows: pl.DataFrame | Parts


class Lake(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Delta Lake tables on S3 or a folder. One table an asset, one partition a UTC day.

    Open one without Darkroom: `polars.scan_delta("s3://lake/tables/training_table")`.
    """

    url: str
    endpoint: str = ""
    access_key: str = ""
    secret_key: str = ""
    region: str = "us-east-1"
    timeout_s: float = TIMEOUT_S

    @property
    def storage_options(self) -> dict[str, str]:
        """What `deltalake` and `polars.scan_delta` need to reach the bucket. Holds secrets: not for a log."""
        if not self.url.startswith("s3://"):
            return {}
        options = {"aws_region": self.region, "aws_conditional_put": "etag"}
        options |= {"timeout": f"{int(1000 * self.timeout_s)}ms", "connect_timeout": "5s"}
        if self.access_key:
            options |= {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        if self.endpoint:
            options |= {"aws_endpoint_url": self.endpoint, "aws_virtual_hosted_style_request": "false"}
        if urlparse(self.endpoint).hostname in ("127.0.0.1", "localhost", "::1"):
            options["aws_allow_http"] = "true"
        return options

    @property
    def store(self) -> ObjectStore:
        """The lake's files by key, for what is no table."""
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
    def _delta_options(self) -> dict[str, str]:
        """The same with the retries of `deltalake`, whose names and types are not those of polars."""
        if not self.url.startswith("s3://"):
            return {}
        return {**self.storage_options, "max_retries": str(RETRIES), "retry_timeout": f"{self._retry_ms}ms"}

    @property
    def _polars_options(self) -> dict[str, Any] | None:
        if not self.url.startswith("s3://"):
            return None
        return {**self.storage_options, "max_retries": RETRIES, "retry_timeout_ms": self._retry_ms}

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Raise StoreUnavailable for what deltalake and polars raise when the store does not answer; pass on all else."""
        try:
            yield
        except (OSError, DeltaError, PolarsError) as error:
            told = " ".join(_COLOURS.sub("", str(error)).replace("↳", "").split())
            if isinstance(error, CommitFailedError) or not _STORE_SAYS.search(told):
                raise
            raise StoreUnavailable(
                f"The lake at {self.url} can't be reached. Start the embedded server with `darkroom up`, or set "
                f"DARKROOM_LAKE_URL and DARKROOM_S3_ENDPOINT; then run again. The store said: {told[:300]}"
            ) from None

    def uri(self, table: str) -> str:
        """Where a table lies, for any Delta reader.

        Raises ValueError for a folder whose path a URL would encode: polars can't read Delta tables there.
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
        """Raises TableMissing if no run has written it yet."""
        try:
            with self.reached():
                return DeltaTable(self.uri(name), version=version, storage_options=self._delta_options)
        except TableNotFoundError:
            raise TableMissing(
                f"The table {name} does not exist yet. Materialize the asset {name} first: `make run`, or the UI."
            ) from None

    def exists(self, name: str) -> bool:
        """Whether a run has ever written this table."""
        with self.reached():
            return DeltaTable.is_deltatable(self.uri(name), storage_options=self._delta_options)

    def version(self, name: str) -> int:
        """The newest Delta version of a table, -1 if there is none."""
        return self.table(name).version() if self.exists(name) else -1

    def scan(self, name: str, days: Sequence[date] | None = None, version: int | None = None) -> pl.LazyFrame:
        """A table's rows, lazily; with `days`, only the files of these days are opened.

        Raises TableMissing if no run has written it yet, or if a clean-up has removed files of this version (of these days).
        """
        if version is not None:
            self._require_whole(name, version, days)
        frame = pl.scan_delta(self.table(name, version), storage_options=self._polars_options)
        if days is None:
            return frame
        return frame.filter(pl.col("day").is_in(pl.Series(list(days), dtype=pl.Date).implode()))

    def _require_whole(self, name: str, version: int, days: Sequence[date] | None) -> None:
        try:
            dropped = Dropped.loads(self.store.get(Dropped.key(name)))
        except NotFound:
            return
        if dropped.lacks(version, days):
            raise TableMissing(
                f"Version {version} of the table {name} was cleaned up: no pin and none of the newest materializations "
                "named it. Read a pinned version (`darkroom log`), or the newest."
            )

    def replace(
        self, name: str, days: Sequence[date], rows: pl.DataFrame | Parts, *, note: dict[str, str] | None = None
    ) -> int:
        """Make `rows` the whole content of these days, in one commit. Returns the table's new version.

        Parts are written one by one, and not held. Runs that write other days of the same table at the same time both
        succeed: a lost race is tried again. Raises ValueError if a row is of another day or of none, or if no day is named;
        StoreUnavailable if the store does not answer: whether the commit has landed is not known then, and to write the
        same again is safe.
        """
        days = sorted(set(days))
        if not days:
            raise ValueError(f"{name}: no days are named, so there is nothing to replace")
        parts = Parts.of(rows) if isinstance(rows, pl.DataFrame) else rows
        schema = to_arrow(pl.DataFrame(schema=parts.schema)).schema
        properties = CommitProperties(custom_metadata=note or {})
        refused: list[ValueError] = []
        for attempt in range(COMMIT_TRIES):
            batches = pa.RecordBatchReader.from_batches(schema, _batches(name, days, parts, refused))
            try:
                with self.reached():
                    return self._replace(name, days, batches, properties)
            except CommitFailedError:
                if attempt == COMMIT_TRIES - 1:
                    raise
                time.sleep(random.uniform(0.02, 0.2) * (attempt + 1))  # noqa: S311  jitter, not a secret
            except DeltaError:
                if refused:
                    raise refused[0] from None
                raise
        raise AssertionError("unreachable")

    def _replace(self, name: str, days: Sequence[date], rows: pa.RecordBatchReader, properties: CommitProperties) -> int:
        if not self.exists(name):
            self._create(name, rows.schema)
        table = self.table(name)
        write_deltalake(
            table,
            rows,
            mode="overwrite",
            predicate=" OR ".join(f"day = '{day.isoformat()}'" for day in days),
            schema_mode="merge",
            commit_properties=properties,
        )
        table.update_incremental()
        return table.version()

    def _create(self, name: str, schema: pa.Schema) -> None:
        if not self.url.startswith("s3://"):
            Path(self.uri(name)).mkdir(parents=True, exist_ok=True)
        DeltaTable.create(
            self.uri(name),
            schema=schema,
            mode="ignore",
            partition_by=["day"],
            storage_options=self._delta_options,
            configuration={"delta.logRetentionDuration": "interval 3650 days"},
        )


def open_lake(settings: Settings) -> Lake:
    """The lake of the settings, for use outside Dagster."""
    return Lake(
        url=settings.lake_url,
        endpoint=settings.s3_endpoint or "",
        access_key=plain(settings.s3_access_key),
        secret_key=plain(settings.s3_secret_key),
        region=settings.s3_region,
    )


def _batches(name: str, days: Sequence[date], parts: Parts, refused: list[ValueError]) -> Iterator[pa.RecordBatch]:
    """Each part's rows by day. What is wrong with them goes to `refused` too: the writer wraps what is raised in its own."""
    ours = pl.col("day").is_in(pl.Series(days, dtype=pl.Date).implode()).fill_null(value=False)
    for part in parts:
        strays = part.filter(~ours).height
        if strays:
            refused.append(ValueError(f"{name}: {strays} rows are of days that this write does not replace"))
            raise refused[0]
        yield from to_arrow(part.sort("day", maintain_order=True)).to_batches()


class LakeIO(dg.ConfigurableIOManager):
    """Stores an asset's frame as the run's day partitions of its Delta table, and loads upstream tables lazily.

    An asset may return a `polars.DataFrame`, a `LazyFrame`, or a `Replacement`, which names the days that it replaces. A
    loaded input is a `LazyFrame` over exactly the upstream days that the partition mapping names.
    """

    lake: dg.ResourceDependency[Lake]

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Replace the run's partitions (or those that a Replacement names) in one commit."""
        if not isinstance(obj, Replacement):
            days = [date.fromisoformat(key) for key in context.asset_partition_keys]
            obj = Replacement(days, obj.collect(engine="streaming") if isinstance(obj, pl.LazyFrame) else obj)
        if obj.days:
            name = context.asset_key.path[-1]
            version = self.lake.replace(name, obj.days, obj.rows, note={"dagster_run_id": context.run_id})
            context.add_output_metadata({"delta_version": version})

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame | None:
        """The upstream table, restricted to the mapped days.

        Raises TableMissing if no run has written it yet; an input that is marked EMPTY_IF_MISSING is None then.
        """
        name = context.asset_key.path[-1]
        if (context.definition_metadata or {}).get(EMPTY_IF_MISSING) and not self.lake.exists(name):
            return None
        if not context.has_asset_partitions:
            return self.lake.scan(name)
        try:
            return self.lake.scan(name, [date.fromisoformat(key) for key in context.asset_partition_keys])
        except PolarsError as error:
            raise StoreUnavailable(f"The table {name} can't be read: {error}") from error
