"""What differs between folder, S3 and memory: how a store is opened, which keys it can hold, what its errors mean.

obstore normalises keys: `a/` reads `a`, and a listing fails whole on one key with a newline. On S3, keys that it would
change, and all listings, therefore go through boto3, which takes keys as they are.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import botocore.config
import botocore.exceptions
import botocore.session
import botocore.utils
from obstore import exceptions as obs
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import LocalStore, MemoryStore, S3Store

from resources.errors import (
    AccessDenied,
    BucketMissing,
    InsecureEndpoint,
    InvalidKey,
    InvalidRange,
    NotFound,
    ResourceError,
    StoreUnavailable,
)

RETRIES = 8
BACKOFF = {"init_backoff": timedelta(seconds=0.2), "base": 3, "max_backoff": timedelta(seconds=5)}
"""Together about fifteen seconds: an S3 server that starts answers 500 for the first few."""
BOTO_TRIES = 5
MAX_SKEW = timedelta(minutes=15)
"""S3 refuses requests that are signed for another time than its own, if they are further apart."""
CONNECT_TIMEOUT = timedelta(seconds=5)
TIMEOUT_S = 120.0
"""Of one request with its body: 64 MB at 1 MB/s fit. With its retries it gives up after two and a quarter times this."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Control characters, and halves of surrogate pairs, which have no UTF-8.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# The folder backend's own partial files end so.
_PARTIAL = re.compile(r"#\d+$")
# 255 are allowed; while it writes, the folder backend appends '#' and a number.
_MAX_NAME_BYTES = 240


@dataclass(frozen=True)
class S3Access:
    """How to reach S3; without keys, boto3's own chain of credentials (profile, SSO, role)."""

    bucket: str
    prefix: str
    endpoint: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    region: str = "us-east-1"
    timeout_s: float = TIMEOUT_S

    def full(self, key: str) -> str:
        """The key in the bucket."""
        return f"{self.prefix}/{key}" if self.prefix else key

    def obstore(self) -> S3Store:
        """The store for reads and writes, with retries on server errors and timeouts."""
        if self.access_key:
            auth: dict[str, Any] = {"access_key_id": self.access_key, "secret_access_key": self.secret_key}
        else:
            auth = {"credential_provider": Boto3CredentialProvider()}
        retry: Any = {
            "max_retries": RETRIES,
            "backoff": BACKOFF,
            "retry_timeout": timedelta(seconds=1.25 * self.timeout_s),
        }
        where: dict[str, Any] = {"endpoint": self.endpoint} if self.endpoint else {}
        return S3Store(
            self.bucket,
            region=self.region,
            client_options={
                "allow_http": bool(self.endpoint and self.endpoint.startswith("http://")),
                "connect_timeout": CONNECT_TIMEOUT,
                "timeout": timedelta(seconds=self.timeout_s),
            },
            retry_config=retry,
            **where,
            **auth,
        )

    @cached_property
    def client(self) -> Any:
        """The boto3 client for listings, and for keys that obstore would change."""
        return boto3_client(self.endpoint, self.access_key, self.secret_key, self.region, timeout_s=self.timeout_s)


def boto3_client(
    endpoint: str | None,
    access_key: str | None,
    secret_key: str | None,
    region: str,
    connections: int = 10,
    timeout_s: float = TIMEOUT_S,
) -> Any:
    """A boto3 S3 client with our timeouts and retries; empty strings count as not given."""
    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
    return boto3.session.Session(botocore_session=session).client(
        "s3",
        endpoint_url=endpoint or None,
        aws_access_key_id=access_key or None,
        aws_secret_access_key=secret_key or None,
        region_name=region,
        config=botocore.config.Config(
            retries={"max_attempts": BOTO_TRIES, "mode": "standard"},
            connect_timeout=CONNECT_TIMEOUT.total_seconds(),
            read_timeout=timeout_s / 2,
            max_pool_connections=connections,
            # "path" works everywhere an endpoint is named; AWS itself keeps its default.
            s3={"addressing_style": "path" if endpoint else "auto"},
        ),
    )


def _moment(value: Any) -> datetime:
    """A time of a response. botocore's own parser takes more time than all else of a listing."""
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return botocore.utils.parse_timestamp(value)


def open_backend(url: str, *, allow_http: bool = False, **s3: Any) -> tuple[Any, S3Access | None]:
    """The obstore store of a URL, and the S3 access behind it if it is one.

    Raises ValueError for another scheme, InsecureEndpoint for plain HTTP to another machine.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryStore(), None
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise ValueError(f"{url}: a folder's URL has three slashes, like file:///data/objects.")
        return LocalStore(Path(unquote(parts.path)), mkdir=True), None
    if parts.scheme == "s3" and parts.netloc:
        endpoint = s3.get("endpoint") or None
        where = urlsplit(endpoint or "")
        if where.scheme == "http" and where.hostname not in LOOPBACK and not allow_http:
            raise InsecureEndpoint(
                f"{endpoint} would get credentials and data unencrypted: use https, or allow_http=True inside a network "
                "that you trust."
            )
        access = S3Access(parts.netloc, parts.path.strip("/"), **{**s3, "endpoint": endpoint})
        return access.obstore(), access
    raise ValueError(f"{url!r} is no object store: use s3://bucket/prefix, file:///folder or memory://.")


def survives_obstore(key: str) -> bool:
    """Whether obstore would use exactly this key."""
    return not _UNSAFE.search(key) and not {"", ".", ".."} & set(key.split("/"))


def check_key(key: str, *, in_folder: bool) -> None:
    """Raise InvalidKey if a folder or memory can't hold this key as it is. What S3 holds is S3's to say."""
    if not survives_obstore(key):
        raise InvalidKey(key, f"{key!r} has an empty, '.' or '..' part, or characters that no path may hold: rename it.")
    if in_folder and any(len(name.encode()) > _MAX_NAME_BYTES or _PARTIAL.search(name) for name in key.split("/")):
        raise InvalidKey(key, f"A folder can't hold {key[:300]!r}: a part exceeds 240 bytes or ends in '#' and digits.")


_MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound"})
_DENIED = frozenset({"403", "AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId"})
_DENIALS = (
    obs.PermissionDeniedError,
    obs.UnauthenticatedError,
    PermissionError,
    botocore.exceptions.NoCredentialsError,
)
_BAD_KEY = frozenset({"400", "InvalidRequest", "KeyTooLongError", "InvalidURI"})
_BAD_KEYS = (obs.InvalidPathError, UnicodeError, botocore.exceptions.ParamValidationError)
# Of folders: not a directory, is a directory (a key below another key), file name too long (Linux, macOS).
_BAD_PATH = re.compile(r"os error (20|21|36|63)\b")
_BAD_RANGE = re.compile(r"\b416\b|InvalidRange|[Ii]nvalid range|range was invalid")


def translate(error: BaseException, key: str) -> ResourceError:
    """Ours for an error of obstore or boto3. Their messages name address and status, never credentials."""
    text = " ".join(str(error).split("Debug source")[0].replace(key, key[:100]).split())[:400]
    code = _boto_code(error)
    if "NoSuchBucket" in text:
        return BucketMissing(f"The bucket does not exist: create it, or correct its name. {text}")
    if isinstance(error, FileNotFoundError) or code in _MISSING:
        return NotFound(key, f"{key!r} is not there (any more): check the key, or restore the version. {text}")
    if "RequestTimeTooSkewed" in text or _is_skewed(error):
        return StoreUnavailable(
            "The store refuses requests because this machine's clock and its own differ by more than 15 minutes: set the "
            f"clock (NTP), then run again. {text}"
        )
    if isinstance(error, _DENIALS) or code in _DENIED:
        return AccessDenied(key, f"Not allowed to use {key!r}: check access key, secret key and bucket policy. {text}")
    if _BAD_RANGE.search(text):
        return InvalidRange(key, f"The range starts beyond the end of {key!r}: ask for its size first. {text}")
    if isinstance(error, _BAD_KEYS) or code in _BAD_KEY or _BAD_PATH.search(text):
        return InvalidKey(key, f"The store refuses the key {key[:300]!r}: rename the object. {text}")
    return StoreUnavailable(f"The store did not answer for {key!r}: check that it runs, then run again. {text}")


def _is_skewed(error: BaseException) -> bool:
    """Whether a refusal comes from a server whose clock is far from ours: the answer to HEAD says so by its date alone."""
    if not isinstance(error, botocore.exceptions.ClientError):
        return False
    metadata = error.response.get("ResponseMetadata", {})
    told = metadata.get("HTTPHeaders", {}).get("date")
    if metadata.get("HTTPStatusCode") != 403 or not told:
        return False
    return abs(parsedate_to_datetime(told) - datetime.now(UTC)) > MAX_SKEW


def _boto_code(error: BaseException) -> str:
    if isinstance(error, botocore.exceptions.ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


EXPECTED = (obs.BaseError, OSError, ValueError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
"""What obstore and boto3 raise for reasons outside this program."""
