"""Publishes a build as the store's next generation. What does not live here: what is built (`pipeline_assets/serving`)."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from resources.online.contract import Generation, Item, OnlineStore

SOURCE = b"s:source"
"""The key whose value says what a generation was built from."""
LEASE_S = 60.0


def publish(
    store: OnlineStore,
    built: Sequence[tuple[bytes, Iterable[Item]]],
    source: str,
    *,
    owner: str,
    t0: datetime,
    horizon_s: int,
    format: int,
) -> Generation | None:
    """The generation with these values: the current one, or a complete draft if another process has the lease.

    built: prefixes of keys, each with all of its items; other keys with the prefix lose their value. source: says what the
    values were built from; if the store has a generation of the same source, nothing is read and written. None if the
    store has a generation, or a draft, of a later t0. The holder of the lease, if there is one, publishes the draft.
    """
    if any(one.t0 > t0 for one in store.generations() if one.replaced_at is None):
        return None
    current = store.current()
    if current and _source(store, current) == source:
        return current
    draft = store.draft()
    if draft is None or _source(store, draft) != source:
        draft = store.begin(t0, horizon_s, format)
        for prefix, items in built:
            store.write(draft, _all_of(store, current, prefix, items))
        store.write(draft, [(SOURCE, source.encode())])
        draft = store.complete(draft, position="")
    lease = store.lease(owner, LEASE_S)
    if lease is None:
        return draft
    try:
        published = store.publish(lease, draft, position="")
    finally:
        store.release(lease)
    store.sweep()
    return published


def _source(store: OnlineStore, generation: Generation) -> str:
    _, [value] = store.read([SOURCE], of=generation)
    return (value or b"").decode()


def _all_of(store: OnlineStore, current: Generation | None, prefix: bytes, items: Iterable[Item]) -> Iterator[Item]:
    """The items, and then the keys of the current generation that they lack, without a value."""
    keys = set()
    for key, value in items:
        keys.add(key)
        yield key, value
    if current:
        yield from ((key, None) for key in store.keys(prefix, of=current) if key not in keys)
