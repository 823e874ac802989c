"""What the errors of all online stores say: the same words, whichever server it is."""

from resources.errors import (
    DatabaseUnusable,
    DraftGone,
    GenerationGone,
    LeaseLost,
    NothingPublished,
    StoreFlushed,
    StoreRewound,
    StoreUnreadable,
)
from resources.online.contract import Generation, Lease

REBUILD = "`darkroom online rebuild` builds it from the lake"


def empty(was_filled: bool) -> NothingPublished:
    """The error of a read without a generation. was_filled: whether this process has read one before."""
    if was_filled:
        return StoreFlushed(f"The online store was emptied: it was flushed, or its file or tables were removed. {REBUILD}.")
    return NothingPublished(f"The online store has no generation: it is new, or was flushed. {REBUILD}.")


def generation_gone(generation: Generation) -> GenerationGone:
    """The error of a read of a swept generation."""
    return GenerationGone(
        f"Generation {generation.number} of the online store was replaced, and is swept: read the current one."
    )


def draft_gone(draft: Generation) -> DraftGone:
    """The error of a build that another one has replaced."""
    return DraftGone(
        f"Draft {draft.number} of the online store is gone: another build has begun since, or the store was flushed. "
        "That build publishes; nothing is left to do here."
    )


def incomplete(draft: Generation) -> DraftGone:
    """The error of a publication before its time."""
    return DraftGone(f"Draft {draft.number} of the online store is not complete, so that it can't be published.")


def lease_lost(lease: Lease, holder: str | None) -> LeaseLost:
    """The error of a writer whose lease is no longer the present one. holder: of the present one."""
    whose = "has expired" if holder in (None, lease.owner) else f"now belongs to {holder!r}"
    return LeaseLost(
        f"The right to change the online store {whose}: nothing was changed. Read the store's position, and go on from "
        "there once the lease is yours again."
    )


def rewound(number: int, position: str, after: Generation) -> StoreRewound:
    """The error of changes to another state of the store. number, position: of its generation."""
    return StoreRewound(
        f"The online store is at position {position!r} of generation {number}, and the changes follow from position "
        f"{after.position!r} of generation {after.number}: its server lost the last changes, or another process wrote. "
        "Nothing was changed: read the store's position, and go on from there."
    )


def bad_address(example: str, setting: str = "DARKROOM_ONLINE_URL") -> DatabaseUnusable:
    """The error of an address that can't be read, which it does not name: it has a password."""
    return DatabaseUnusable(
        f"{setting} can't be read: write {example}, and special characters of a password as in %2F for a slash."
    )


def other_layout(found: object, ours: int, what: str) -> StoreUnreadable:
    """The error of a store that another version of Darkroom wrote. what: removes it."""
    return StoreUnreadable(
        f"The online store has layout {found}, and this Darkroom reads layout {ours}: update the older of the two. Or "
        f"remove the store ({what}): {REBUILD}. It holds nothing that is not in the lake."
    )
