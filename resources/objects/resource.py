"""The Dagster resource of an object store.

No `from __future__ import annotations` here: Dagster reads resource annotations at run time.
"""

from urllib.parse import urlsplit

import dagster as dg
from pydantic import Field, PrivateAttr

from resources.objects.backends import TIMEOUT_S
from resources.objects.store import ObjectStore


class Objects(dg.ConfigurableResource):  # type: ignore[type-arg]
    """An object store for photos, renders and other bytes: an S3 bucket, a folder or memory.

    `.store` reads and writes by key or by content (sha256). Pass secrets as `dg.EnvVar`: the UI then shows the variable's
    name, never its value.
    """

    url: str = Field(description="s3://bucket/prefix, file:///folder or memory://")
    endpoint: str = Field(default="", description="S3 endpoint; empty for AWS itself")
    access_key: str = Field(default="", repr=False, description="empty: the AWS chain of credentials (profile, SSO, role)")
    secret_key: str = Field(default="", repr=False, description="belongs to access_key")
    region: str = Field(default="us-east-1", description="region of the bucket")
    allow_http: bool = Field(default=False, description="allow plain HTTP to other machines than this one")
    timeout_s: float = Field(default=TIMEOUT_S, gt=0, description="seconds that one request may take, with its body")
    _store: ObjectStore | None = PrivateAttr(default=None)

    @property
    def store(self) -> ObjectStore:
        """The object store, opened on first use."""
        if self._store is None:
            self._store = ObjectStore.open(
                self.url,
                endpoint=self.endpoint or None,
                access_key=self.access_key or None,
                secret_key=self.secret_key or None,
                region=self.region,
                allow_http=self.allow_http,
                timeout_s=self.timeout_s,
            )
        return self._store

    @property
    def bucket(self) -> str:
        """The bucket's name, or the folder's path: with the key it identifies an object."""
        parts = urlsplit(self.url)
        return parts.netloc or parts.path
