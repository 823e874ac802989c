"""What the errors of Redis and Valkey, and those of `store.lua`, mean."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from resources.errors import DatabaseUnusable, NoSpace, StoreUnavailable
from resources.online import advice
from resources.online.contract import Generation, Lease


@contextmanager
def translating(
    was_filled: bool, of: Generation | None = None, lease: Lease | None = None, after: Generation | None = None
) -> Iterator[None]:
    """Translate errors. of, lease, after: the draft, the lease, and what the changes of the call follow from."""
    try:
        yield
    except redis.RedisError as error:
        if after and str(error).startswith("AFTER "):
            _, number, position = str(error).split(" ", 2)
            raise advice.rewound(int(number), position, after) from None
        raise _translated(error, was_filled, of, lease) from None
    except (OSError, redis.exceptions.RedisClusterException) as error:
        raise _away(str(error)) from None


def _translated(error: redis.RedisError, was_filled: bool, of: Generation | None, lease: Lease | None) -> Exception:
    """The error that says what to do; the same one if it is about a command of ours."""
    code, _, rest = str(error).removeprefix("ERR ").partition(" ")
    if code == "EMPTY":
        return advice.empty(was_filled)
    if code == "LAYOUT":
        return advice.other_layout(rest.split(" ")[0], 1, "DEL its key")
    if code == "LEASE" and lease:
        return advice.lease_lost(lease, rest or None)
    if code in ("DRAFT", "INCOMPLETE") and of:
        return advice.draft_gone(of) if code == "DRAFT" else advice.incomplete(of)
    if isinstance(error, redis.OutOfMemoryError) or code == "MISCONF" or "OOM command" in str(error):
        return NoSpace(
            "The online store's Redis has no room: raise its maxmemory or its disk's, or remove old generations with "
            f"`darkroom online sweep`. Nothing was changed. It said: {error}"
        )
    if isinstance(error, redis.AuthenticationError) or code in ("NOAUTH", "WRONGPASS", "NOPERM", "READONLY", "CROSSSLOT"):
        return DatabaseUnusable(
            "The online store's Redis refuses: correct user and password in DARKROOM_ONLINE_URL, name the primary instead "
            f"of a replica, or add cluster=true for a cluster. It said: {code} {rest}"
        )
    # BUSY: a script has run for five seconds, as on a machine that is overloaded.
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | redis.BusyLoadingError) or code == "BUSY":
        return _away(str(error))
    return error


def _away(message: str) -> StoreUnavailable:
    return StoreUnavailable(
        "The online store's Redis does not answer, or went away. Start it, or correct DARKROOM_ONLINE_URL, then run again: "
        f"a change is done whole or not at all, and the store's position tells which. It said: {message}"
    )
