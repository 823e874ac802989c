"""Addresses and status of the embedded servers."""

from dataclasses import dataclass, field

from resources.servers import weed


@dataclass(frozen=True)
class Endpoints:
    """Addresses and credentials of the servers; empty for a server that is not used. Its `repr` shows no secrets."""

    postgres_url: str = field(repr=False)
    dagster_postgres_url: str = field(repr=False)
    s3_endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    ca_bundle: str = ""
    """A file with the S3 server's authority and those that this machine trusts."""
    region: str = weed.REGION

    def settings(self) -> dict[str, str]:
        """The values by the names of `resources.settings`."""
        values = {
            "embedded": "true",
            "s3_endpoint": self.s3_endpoint,
            "s3_access_key": self.access_key,
            "s3_secret_key": self.secret_key,
            "s3_ca_bundle": self.ca_bundle,
        }
        if self.postgres_url:
            values |= {"database_url": self.postgres_url, "dagster_postgres_url": self.dagster_postgres_url}
        return values


@dataclass(frozen=True)
class Status:
    """The servers' pids and ports; a pid is None if the server does not run."""

    pids: dict[str, int | None]
    ports: dict[str, int]

    @property
    def running(self) -> bool:
        """Whether all servers run."""
        return all(pid is not None for pid in self.pids.values())
