"""Every setting of Darkroom, read from the environment in this one place.

A variable's name is `DARKROOM_` and the field in capitals (`DARKROOM_HOME`). `darkroom up` writes those of the embedded
servers to `.darkroom/env` (mode 0600); the environment takes precedence. Secrets are `SecretStr` and print as stars.
"""

import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from resources.errors import SettingTwice
from resources.home import check_home, env_values


class Settings(BaseSettings):
    """Paths, addresses, credentials and limits of one process."""

    model_config = SettingsConfigDict(env_prefix="DARKROOM_", env_ignore_empty=True, extra="ignore")

    home: Path = Field(Path(".darkroom"), description="folder of the embedded servers' state, caches and Dagster's home")
    database_url: SecretStr | None = Field(
        None, description="URL of the application tables and ledgers, PostgreSQL or sqlite:///file; empty: embedded server"
    )
    dagster_postgres_url: SecretStr | None = Field(
        None, description="URL of Dagster's own storage; empty: embedded server, or local files with SQLite"
    )
    online_url: SecretStr | None = Field(
        None, description="URL of the online store: postgresql://, redis://, rediss:// or unix://; empty: HOME/online.db"
    )
    uploads_url: str = Field("s3://uploads", description="bucket or folder of uploads: uploads/{day}/{user}/{name}")
    uploads_queue_url: str | None = Field(None, description="SQS queue of upload events; empty: the bucket is listed")
    lake_url: str = Field("s3://lake", description="bucket or folder of tables/, events/ and content-addressed objects/")
    s3_endpoint: str | None = Field(None, description="S3 endpoint; empty with a database URL set: AWS")
    s3_access_key: SecretStr | None = Field(None, description="S3 access key; empty: boto3's credential chain")
    s3_secret_key: SecretStr | None = Field(None, description="S3 secret key")
    s3_region: str = Field("us-east-1", description="region of the buckets")
    s3_ca_bundle: Path | None = Field(
        None, description="PEM file of all trusted certificate authorities, for an S3 server with a private one"
    )
    staging_dir: Path | None = Field(None, description="folder of training shards on a fast local disk; empty: HOME/staging")
    staging_keep: int = Field(3, ge=1, description="number of older stagings kept on the local disk")
    tools_dir: Path | None = Field(
        None, description="folder of the environments of tools, such as Label Studio; empty: HOME/tools"
    )
    label_studio_url: str | None = Field(
        None, description="address of your Label Studio; empty: `darkroom label up` starts one"
    )
    label_studio_token: SecretStr | None = Field(None, description="legacy token of your account there")
    model: str = Field("efficientnet-lite0", description="classifier: a built-in name, or a folder with model.pt2")
    device: str = Field("auto", description="torch device: auto, cuda, mps or cpu")
    training_window_days: int = Field(90, ge=1, description="days of labelled rows that a nightly model is trained on")
    variants: dict[str, Any] = Field({}, description='variants policy as JSON: {"photos": {"children": 4}, "seed": 1}')
    pseudo_labels: bool = Field(
        False, description="whether pseudo-labels whose measured gain is surely above 0 are marked as taken"
    )
    campaigns_dir: Path | None = Field(
        None, description="folder of labeling campaigns, NAME.yaml; not set: campaigns/ beside the code"
    )
    first_day: str = Field("2026-01-01", description="first day partition (UTC)")
    max_quarantined_share: float = Field(
        0.2, ge=0, le=1, description="a day's check warns above this share of quarantined uploads"
    )
    alert_webhook: SecretStr | None = Field(None, description="URL that receives a JSON POST for each failed run")
    serve_hosts: str = Field("", description="host names under which `darkroom serve` is reached, comma-separated")
    serve_certificate: Path | None = Field(None, description="PEM file of the certificate of `darkroom serve`, for HTTPS")
    serve_key: Path | None = Field(None, description="PEM file of the certificate's key")
    serve_rate: float = Field(
        0, ge=0, description="requests a second that `darkroom serve` answers to one token, or one address; 0: any number"
    )
    serving_log_share: float = Field(1, ge=0, le=1, description="share of asks that `darkroom serve` logs in the lake")
    serving_log_users: Literal["id", "none"] = Field(
        "id", description="whether logged asks have the user's id, which comparing them with the offline features needs"
    )
    stream_flush_s: float = Field(
        60, ge=1, le=3600, description="seconds after which `darkroom stream` writes received events to the lake's log"
    )
    stream_redis_url: SecretStr | None = Field(
        None,
        description="URL of a Redis or Valkey whose stream `darkroom stream` reads, too: redis://, rediss:// or unix://",
    )
    stream_redis_name: str = Field("events", description="name of that stream, the key in Redis")
    ui_port: int = Field(3000, ge=1, le=65535, description="port of the Dagster UI on 127.0.0.1")
    ui_hosts: str = Field("", description="host names under which a proxy publishes the UI, comma-separated")

    embedded: bool = Field(False, description="set by `darkroom up` next to the addresses of its own servers")

    @field_validator("home", "staging_dir", "tools_dir", "campaigns_dir", "serve_certificate", "serve_key")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().resolve() if path else path

    @field_validator("database_url")
    @classmethod
    def _absolute_file(cls, url: SecretStr | None) -> SecretStr | None:
        """Absolute, since the code server and the daemon run in another working folder."""
        name = plain(url).removeprefix("sqlite:///")
        is_file = name != plain(url) and name not in ("", ":memory:")
        return SecretStr(f"sqlite:///{quote(str(Path(unquote(name)).expanduser().absolute()))}") if is_file else url

    @field_validator("database_url", "dagster_postgres_url", "online_url")
    @classmethod
    def _no_password_in_clear(cls, url: SecretStr | None) -> SecretStr | None:
        """Forbid plain-text passwords: any server at the address can ask for one, and libpq would send it."""
        address = plain(url)
        query = dict(parse_qsl(urlsplit(address).query)) if address.startswith("postgres") else {}
        options = {"require_auth": os.environ.get("PGREQUIREAUTH"), "sslmode": os.environ.get("PGSSLMODE"), **query}
        if not address.startswith("postgres") or options["require_auth"] or options["sslmode"] in ENCRYPTED:
            return url
        return SecretStr(f"{address}{'&' if '?' in address else '?'}{NOT_IN_CLEAR}")

    def having(self, others: Mapping[str, object]) -> "Settings":
        """A validated copy with these fields replaced."""
        return Settings.model_validate({**self.model_dump(), **others})

    @property
    def uses_sqlite(self) -> bool:
        """True if the application tables and ledgers are in an SQLite file."""
        return plain(self.database_url).startswith("sqlite:")

    @property
    def embedded_servers(self) -> tuple[str, ...]:
        """The embedded servers that this process uses.

        Both, unless an external PostgreSQL is set. With SQLite only S3, if a URL needs it and no external S3 is set.
        """
        if not self.uses_sqlite:
            return ("s3", "postgres") if self.embedded or self.database_url is None else ()
        is_needed = any(url.startswith("s3://") for url in (self.uploads_url, self.lake_url))
        is_yours = not self.embedded and bool(self.s3_endpoint or self.s3_access_key)
        return ("s3",) if is_needed and not is_yours else ()

    @property
    def wants_embedded(self) -> bool:
        """True if this process uses any embedded server."""
        return bool(self.embedded_servers)

    @property
    def is_dagster_local(self) -> bool:
        """True if Dagster's own storage is on this machine only."""
        return "postgres" in self.embedded_servers or self.dagster_postgres_url is None

    @property
    def ui_host_names(self) -> list[str]:
        """The names in `ui_hosts`."""
        return [name.strip() for name in self.ui_hosts.split(",") if name.strip()]

    @property
    def serve_host_names(self) -> list[str]:
        """The names in `serve_hosts`."""
        return [name.strip().lower() for name in self.serve_hosts.split(",") if name.strip()]

    @property
    def serve_tokens(self) -> Path:
        """File with the hashes of the endpoint's tokens."""
        return self.home / "serving" / "tokens.json"

    @property
    def env_file(self) -> Path:
        """File in which `darkroom up` writes the addresses of the embedded servers."""
        return self.home / "env"

    @property
    def dagster_home(self) -> Path:
        """Dagster's home folder (`DAGSTER_HOME`), which holds its configuration."""
        return self.home / "dagster"

    @property
    def lake_server(self) -> str:
        """The lake's server as the end of a sentence; empty for a folder."""
        return f" on {self.s3_endpoint or 'AWS'}" if self.lake_url.startswith("s3://") else ""

    @property
    def campaigns(self) -> Path:
        """Folder of the labeling campaigns, wherever Darkroom is called."""
        return self.campaigns_dir or Path(__file__).parents[1] / "campaigns"

    @property
    def staging(self) -> Path:
        """Root folder of the training shards on the local disk."""
        return self.staging_dir or self.home / "staging"

    @property
    def tools(self) -> Path:
        """Folder of the environments of tools that are not among the base packages."""
        return self.tools_dir or self.home / "tools"


def load_settings() -> Settings:
    """The settings of this process: the environment first, then `HOME/env`, then the defaults.

    Raises HomeNotOurs if another user may have written files in HOME, and SettingTwice.

    The connection settings are also exported to this process's environment, where Dagster's `EnvVar` reads them at run
    time: the UI and the event log then show the variable's name, never its value.
    """
    _take_former_name()
    settings = Settings()
    check_home(settings.home, Path(os.environ.get("DARKROOM_HOME") or Settings.model_fields["home"].default).expanduser())
    if settings.wants_embedded and os.path.lexists(settings.env_file):
        from_file = _with(env_values(settings.env_file))
        # An earlier start with PostgreSQL may have written the file, with an address for Dagster.
        kept = {"dagster_postgres_url": settings.dagster_postgres_url} if from_file.uses_sqlite else {}
        settings = from_file.model_copy(update=kept)
    export(settings)
    return settings


def _with(values: Mapping[str, str]) -> Settings:
    """The settings of these values; the environment takes precedence."""
    named = {NAME if name == FORMER_NAME else name: value for name, value in values.items()}
    unset = {name: value for name, value in named.items() if value and not os.environ.get(name)}
    return Settings.model_validate({name.removeprefix("DARKROOM_").lower(): value for name, value in unset.items()})


NAME, FORMER_NAME = "DARKROOM_DATABASE_URL", "DARKROOM_POSTGRES_URL"
"""`HOME/env` keeps the former name, and `reproduce` sets both, because the code of older commits reads it."""


def _take_former_name() -> None:
    """Copy the value of the former name to the present one, and say so. Raises SettingTwice if both are set, and differ.

    The former name stays in the environment: your `dagster.yaml` and your own assets may read it.
    """
    former = os.environ.get(FORMER_NAME)
    if former and not os.environ.get(NAME):
        os.environ[NAME] = former
        print(f"{FORMER_NAME} is now called {NAME}; the former name still works.", file=sys.stderr)
    elif former and Settings.model_validate({"database_url": former}).database_url != Settings().database_url:
        raise SettingTwice(f"{NAME} and its former name, {FORMER_NAME}, name two databases: unset one of them.")


def with_former_name(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for code that may know the former name only."""
    return {**environment, FORMER_NAME: environment[NAME]} if NAME in environment else dict(environment)


def env_lines(settings: Mapping[str, str]) -> str:
    """The text of `HOME/env` for settings by their fields."""
    named = {f"DARKROOM_{name.upper()}": value for name, value in settings.items()}
    named = {FORMER_NAME if name == NAME else name: value for name, value in named.items()}
    return "".join(f"{name}={value}\n" for name, value in named.items())


ENCRYPTED = ("require", "verify-ca", "verify-full")
NOT_IN_CLEAR = "require_auth=%21password"
CONNECTION = (
    "embedded",
    "database_url",
    "dagster_postgres_url",
    "online_url",
    "stream_redis_url",
    "s3_endpoint",
    "s3_access_key",
    "s3_secret_key",
    "s3_ca_bundle",
    "alert_webhook",
)


def export(settings: Settings) -> None:
    """Set this process's environment to the connection settings; an unset one becomes an empty string."""
    os.environ.update({f"DARKROOM_{name.upper()}": plain(getattr(settings, name)) for name in CONNECTION})
    if FORMER_NAME in os.environ:
        os.environ[FORMER_NAME] = os.environ[NAME]
    os.environ.update(_trust(settings))


def _trust(settings: Settings) -> dict[str, str]:
    """Variables that name the CA bundle for Rust, Python and boto3; empty if none is set or the file is missing."""
    bundle = settings.s3_ca_bundle
    return dict.fromkeys(("SSL_CERT_FILE", "AWS_CA_BUNDLE"), str(bundle)) if bundle and bundle.is_file() else {}


def shell_lines(settings: Settings) -> list[str]:
    """`export NAME='value'` lines for a shell: our variables, and those that aws, psql, rclone and duckdb read.

    They contain secrets: use them in `eval "$(darkroom env)"`, never in a log.
    """
    values = {f"DARKROOM_{name.upper()}": plain(getattr(settings, name)) for name in CONNECTION}
    values |= {
        "DARKROOM_HOME": str(settings.home),
        "DAGSTER_HOME": str(settings.dagster_home),
        # psql before 16 does not know `require_auth`.
        "DATABASE_URL": re.sub(r"[?&]require_auth=(%21password|scram-sha-256)\Z", "", values["DARKROOM_DATABASE_URL"]),
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
    if trusted := _trust(settings):
        values |= {**trusted, "RCLONE_CA_CERT": trusted["SSL_CERT_FILE"]}
    return [f"export {name}={shlex.quote(value)}" for name, value in values.items() if value]


def plain(value: object) -> str:
    """A setting as text, secrets included: to pass on, never to print. None becomes an empty string."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")
