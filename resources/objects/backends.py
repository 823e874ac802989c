"""Differences between folder, S3 and memory: opening a store, valid keys, and the meaning of errors.

obstore normalises keys: `a/` reads `a`, and one key with a newline makes a listing fail. On S3, such keys and all listings
therefore go through boto3, which does not change keys.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
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

from resources.addresses import LOOPBACK
from resources.errors import (
    AccessDenied,
    BadCredentials,
    BucketMissing,
    InsecureEndpoint,
    InvalidKey,
    InvalidRange,
    NoSpace,
    NotFound,
    Overwritten,
    ResourceError,
    StoreUnavailable,
    Unreadable,
)

RETRIES = 8
BACKOFF = {"init_backoff": timedelta(seconds=0.2), "base": 3, "max_backoff": timedelta(seconds=5)}
"""About fifteen seconds in total: an S3 server answers 500 for the first few seconds after its start."""
BOTO_TRIES = 5
MAX_SKEW = timedelta(minutes=15)
"""S3 refuses requests whose signature's time differs more from its own."""
CONNECT_TIMEOUT = timedelta(seconds=5)
TIMEOUT_S = 120.0
"""Timeout of one request with its body, in seconds: 64 MB at 1 MB/s fit. With all retries at most 2.25 times as long."""
# Control characters, and single surrogates, which have no UTF-8.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Suffix of the folder backend's partial files.
_PARTIAL = re.compile(r"#\d+$")
# 255 are allowed; the folder backend appends '#' and a number while it writes.
_MAX_NAME_BYTES = 240


@dataclass(frozen=True)
class S3Access:
    """Address and credentials of an S3 bucket; without keys, boto3's chain of credentials (profile, SSO, role)."""

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

    @cached_property
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
    """Parse a time in a response. botocore's own parser takes longer than the rest of a listing."""
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return botocore.utils.parse_timestamp(value)


def open_backend(url: str, *, allow_http: bool = False, **s3: Any) -> tuple[Any, S3Access | None]:
    """The obstore store of a URL, with the S3 access if it is on S3.

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
        access = _shared(S3Access(parts.netloc, parts.path.strip("/"), **{**s3, "endpoint": endpoint}))
        return access.obstore, access
    raise ValueError(f"{url!r} is no object store: use s3://bucket/prefix, file:///folder or memory://.")


@lru_cache(maxsize=32)
def _shared(access: S3Access) -> S3Access:
    """The same access with the connections that this process has already: another client makes its own TLS handshakes."""
    return access


def survives_obstore(key: str) -> bool:
    """Whether obstore uses this key unchanged."""
    return not _UNSAFE.search(key) and not {"", ".", ".."} & set(key.split("/"))


def check_key(key: str, *, in_folder: bool) -> None:
    """Raise InvalidKey if a folder or memory can't store this key unchanged. S3 checks its keys itself."""
    if not survives_obstore(key):
        raise InvalidKey(key, f"{key!r} has an empty, '.' or '..' part, or characters that no path may hold: rename it.")
    if in_folder and any(len(name.encode()) > _MAX_NAME_BYTES or _PARTIAL.search(name) for name in key.split("/")):
        raise InvalidKey(key, f"A folder can't hold {key[:300]!r}: a part exceeds 240 bytes or ends in '#' and digits.")


_BAD_RANGES = frozenset({"416", "InvalidRange"})
_MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound"})
_CHANGED = frozenset({"412", "PreconditionFailed"})
_DENIED = frozenset({"403", "AccessDenied"})
_BAD_CREDENTIALS = frozenset(
    {"SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
)
_UNREADABLE = {
    "InvalidObjectState": "it is archived; restore it (aws s3api restore-object)",
    "KMS": "the key that encrypts it is gone, disabled or not allowed; bring the key back",
    "InvalidRequest": "it is encrypted with a key that only its writer has; store it without",
}
"""By the beginning of S3's error code: why an existing object can't be read, and what to do."""
_WRITERS_KEY = "form of Server Side Encryption"
"""Part of the message of such an InvalidRequest: S3 has no separate code for it."""
_CODE = re.compile(r"<Code>([\w.]+)</Code>")
_REQUEST = re.compile(r"\A\w+ \S+ in \S+ - ")
_DENIALS = (
    obs.PermissionDeniedError,
    obs.UnauthenticatedError,
    PermissionError,
)
_BAD_KEY = frozenset({"400", "InvalidRequest", "KeyTooLongError", "InvalidURI"})
_BAD_KEYS = (obs.InvalidPathError, UnicodeError, botocore.exceptions.ParamValidationError)
# In folders: not a directory, is a directory (a key below another key), file name too long (Linux, macOS).
_BAD_PATH = re.compile(r"\(os error (20|21|36|63)\)\Z")
# In folders: the disk, its quota or the process's limit on file size is full (Linux; macOS has another number for a quota).
_FULL = re.compile(r"\(os error (27|28|69|122)\)")
_BAD_RANGE = re.compile(
    r"\A(Server returned non-2xx status code: 416|Generic InMemory error: Invalid range:|"
    r"Generic LocalFileSystem error: Requested range was invalid)"
)


def translate(error: BaseException, key: str) -> ResourceError:
    """The error of `resources.errors` for one of obstore or boto3, whose messages contain no credentials."""
    full_text = str(error).split("Debug source")[0]
    text = " ".join(full_text.replace(key, key[:100]).split())[:400]
    # A key may contain any words, also those of an error: only the server's or backend's own text is searched.
    message = _REQUEST.sub("", full_text.split(f"{key}: Error performing ", 1)[-1]).strip()
    code = _code(error, message)
    if code == "NoSuchBucket":
        return BucketMissing(f"The bucket does not exist: create it, or correct its name. {text}")
    if isinstance(error, FileNotFoundError) or code in _MISSING:
        return NotFound(key, f"{key!r} is not there (any more): check the key, or restore the version. {text}")
    if code == "RequestTimeTooSkewed" or _is_skewed(error):
        return StoreUnavailable(
            "The store refuses requests because this machine's clock and its own differ by more than 15 minutes: set the "
            f"clock (NTP), then run again. {text}"
        )
    if isinstance(error, obs.PreconditionError) or code in _CHANGED:
        return Overwritten(key, f"{key!r} has other bytes by now, and no version keeps those that were asked for. {text}")
    sign = next((sign for sign in _UNREADABLE if code.startswith(sign)), None)
    if sign and (sign != "InvalidRequest" or _WRITERS_KEY in message):
        return Unreadable(key, f"The store has {key!r} and does not give it ({code}): {_UNREADABLE[sign]}.")
    if isinstance(error, botocore.exceptions.NoCredentialsError) or code in _BAD_CREDENTIALS:
        return BadCredentials(key, f"The credentials are refused: check access key and secret key. {text}")
    if isinstance(error, _DENIALS) or code in _DENIED:
        return AccessDenied(key, f"Not allowed to use {key!r}: check access key, secret key and bucket policy. {text}")
    if code in _BAD_RANGES or _BAD_RANGE.search(message):
        return InvalidRange(key, f"The range starts beyond the end of {key!r}: ask for its size first. {text}")
    if isinstance(error, _BAD_KEYS) or code in _BAD_KEY or _BAD_PATH.search(message):
        return InvalidKey(key, f"The store refuses the key {key[:300]!r}: rename the object. {text}")
    return _of_the_store(key, message, text)


def _of_the_store(key: str, message: str, text: str) -> ResourceError:
    if _FULL.search(message):
        return NoSpace(f"The disk of the store is full: make room, then run again. What is done is kept. {text}")
    return StoreUnavailable(f"The store did not answer for {key!r}: check that it runs, then run again. {text}")


def _is_skewed(error: BaseException) -> bool:
    """Whether a server refused a request because its clock differs: the answer to HEAD has no code, only a date."""
    if not isinstance(error, botocore.exceptions.ClientError):
        return False
    metadata = error.response.get("ResponseMetadata", {})
    server_date = metadata.get("HTTPHeaders", {}).get("date")
    if metadata.get("HTTPStatusCode") != 403 or not server_date:
        return False
    return abs(parsedate_to_datetime(server_date) - datetime.now(UTC)) > MAX_SKEW


def _code(error: BaseException, text: str) -> str:
    """S3's code of an error: a field in boto3, part of the text in obstore. Empty if there is none, as for HEAD."""
    if isinstance(error, botocore.exceptions.ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    match = _CODE.search(text)
    return match.group(1) if match else ""


EXPECTED = (obs.BaseError, OSError, ValueError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
"""Errors that obstore and boto3 raise for reasons outside this program."""
