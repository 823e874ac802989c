"""Every setting of Darkroom, read from the environment in this one place.

The names are `DARKROOM_` and the field in capitals (`DARKROOM_HOME`). `darkroom up` writes those of the embedded servers
to `.darkroom/env` (mode 0600), which is read first; the environment wins. Secrets are `SecretStr` and print as stars.
"""

import os
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where Darkroom keeps things and what it talks to."""

    model_config = SettingsConfigDict(env_prefix="DARKROOM_", env_ignore_empty=True, extra="ignore")

    home: Path = Field(Path(".darkroom"), description="state of the embedded servers, caches, Dagster's home")
    postgres_url: SecretStr | None = Field(
        None, description="application tables and ledger, also sqlite:///file; empty: embedded server"
    )
    dagster_postgres_url: SecretStr | None = Field(
        None, description="Dagster's own storage; empty: embedded server, or files beside SQLite"
    )
    uploads_url: str = Field("s3://uploads", description="where users' uploads arrive: uploads/{day}/{user}/{name}")
    uploads_queue_url: str | None = Field(None, description="SQS queue that tells of uploads; empty: the bucket is listed")
    lake_url: str = Field("s3://lake", description="tables/, events/ and content-addressed objects/ live here")
    s3_endpoint: str | None = Field(None, description="S3 endpoint; empty with a Postgres URL set: AWS itself")
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    s3_region: str = "us-east-1"
    staging_dir: Path | None = Field(None, description="fast local disk for training shards; empty: HOME/staging")
    staging_keep: int = Field(3, ge=1, description="stagings kept on the local disk, newest first")
    model: str = Field("efficientnet-lite0", description="classifier: a built-in name, or a folder with model.pt2")
    device: str = Field("auto", description="auto, cuda, mps or cpu")
    training_window_days: int = Field(90, ge=1, description="days of mature rows that a nightly model learns from")
    variants: dict[str, Any] = Field({}, description='policy of variants as JSON: {"photos": {"children": 4}, "seed": 1}')
    first_day: str = Field("2026-01-01", description="first day partition (UTC)")
    max_quarantined_share: float = Field(0.2, ge=0, le=1, description="above it, a day's uploads raise an alarm")
    alert_webhook: SecretStr | None = Field(None, description="URL that gets a JSON post for each failed run")
    ui_port: int = Field(3000, ge=1, le=65535, description="port of the Dagster UI on 127.0.0.1")
    ui_hosts: str = Field("", description="host names under which a proxy publishes the UI, separated by commas")

    embedded: bool = Field(False, description="written by `darkroom up` beside the addresses of its own servers")

    @field_validator("home", "staging_dir")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().resolve() if path else path

    @field_validator("postgres_url")
    @classmethod
    def _absolute_file(cls, url: SecretStr | None) -> SecretStr | None:
        """The code server and the daemon have another working folder."""
        name = plain(url).removeprefix("sqlite:///")
        is_file = name != plain(url) and name not in ("", ":memory:")
        return SecretStr(f"sqlite:///{quote(str(Path(unquote(name)).expanduser().absolute()))}") if is_file else url

    @property
    def uses_sqlite(self) -> bool:
        """Whether the application tables and ledgers are in an SQLite file."""
        return plain(self.postgres_url).startswith("sqlite:")

    @property
    def embedded_servers(self) -> tuple[str, ...]:
        """Which of the servers that come along serve this process.

        Both, unless a PostgreSQL of your own is set; beside SQLite S3 alone, if it is used and none of your own is set.
        """
        if not self.uses_sqlite:
            return ("s3", "postgres") if self.embedded or self.postgres_url is None else ()
        is_needed = any(url.startswith("s3://") for url in (self.uploads_url, self.lake_url))
        is_yours = not self.embedded and bool(self.s3_endpoint or self.s3_access_key)
        return ("s3",) if is_needed and not is_yours else ()

    @property
    def wants_embedded(self) -> bool:
        """Whether any server that comes along serves this process."""
        return bool(self.embedded_servers)

    @property
    def is_dagster_local(self) -> bool:
        """Whether Dagster's own storage serves this machine alone."""
        return "postgres" in self.embedded_servers or self.dagster_postgres_url is None

    @property
    def ui_host_names(self) -> list[str]:
        """The names in `ui_hosts`."""
        return [name.strip() for name in self.ui_hosts.split(",") if name.strip()]

    @property
    def env_file(self) -> Path:
        """Where `darkroom up` leaves the addresses of the embedded servers."""
        return self.home / "env"

    @property
    def dagster_home(self) -> Path:
        """Dagster's own home, `DAGSTER_HOME`: its configuration is written there."""
        return self.home / "dagster"

    @property
    def lake_server(self) -> str:
        """On which server the lake is, as the end of a sentence; empty for a folder."""
        return f" on {self.s3_endpoint or 'AWS'}" if self.lake_url.startswith("s3://") else ""

    @property
    def staging(self) -> Path:
        """The root of the training shards on local disk."""
        return self.staging_dir or self.home / "staging"


def load_settings() -> Settings:
    """The settings of this process: the environment first, then `HOME/env`, then the defaults.

    The connection settings are also put into this process's environment, where Dagster's `EnvVar` looks for them at run
    time: the UI and the event log then show the variable's name, never its value.
    """
    found = Settings()
    if found.wants_embedded and found.env_file.is_file():
        from_file = Settings(_env_file=found.env_file)
        # The file may be of a start that had PostgreSQL, with an address for Dagster.
        kept = {"dagster_postgres_url": found.dagster_postgres_url} if from_file.uses_sqlite else {}
        found = from_file.model_copy(update=kept)
    export(found)
    return found


CONNECTION = (
    "embedded",
    "postgres_url",
    "dagster_postgres_url",
    "s3_endpoint",
    "s3_access_key",
    "s3_secret_key",
    "alert_webhook",
)


def export(settings: Settings) -> None:
    """Put the connection settings into this process's environment; an unset one becomes an empty string."""
    os.environ.update({f"DARKROOM_{name.upper()}": plain(getattr(settings, name)) for name in CONNECTION})


def shell_lines(settings: Settings) -> list[str]:
    """`export NAME='value'` lines for a shell: ours, and the names that aws, psql, rclone and duckdb read.

    They hold secrets: for `eval "$(darkroom env)"`, not for a log.
    """
    values = {f"DARKROOM_{name.upper()}": plain(getattr(settings, name)) for name in CONNECTION}
    values |= {
        "DARKROOM_HOME": str(settings.home),
        "DAGSTER_HOME": str(settings.dagster_home),
        "DATABASE_URL": values["DARKROOM_POSTGRES_URL"],
        "AWS_ENDPOINT_URL": values["DARKROOM_S3_ENDPOINT"],
        "AWS_ENDPOINT_URL_S3": values["DARKROOM_S3_ENDPOINT"],
        "AWS_ACCESS_KEY_ID": values["DARKROOM_S3_ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": values["DARKROOM_S3_SECRET_KEY"],
        "AWS_REGION": settings.s3_region,
        "AWS_DEFAULT_REGION": settings.s3_region,
        "RCLONE_CONFIG_DARKROOM_TYPE": "s3",
        "RCLONE_CONFIG_DARKROOM_PROVIDER": "Other",
        "RCLONE_CONFIG_DARKROOM_ENDPOINT": values["DARKROOM_S3_ENDPOINT"],
        "RCLONE_CONFIG_DARKROOM_ENV_AUTH": "true",
    }
    return [f"export {name}={shlex.quote(value)}" for name, value in values.items() if value]


def plain(value: object) -> str:
    """A setting's text, secrets included: for handing on, never for printing. None is empty."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")
