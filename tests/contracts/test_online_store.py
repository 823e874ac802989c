"""The contract of OnlineStore, kept by SQLite, PostgreSQL, Redis and Valkey alike."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from online_stores import T0, Place, build

from resources.errors import (
    DraftGone,
    GenerationGone,
    LeaseLost,
    NothingPublished,
    StoreFlushed,
    StoreRewound,
    StoreUnreadable,
)
from resources.online.contract import Lease, OnlineStore

ADVICE = "darkroom online rebuild"


def leased(store: OnlineStore, owner: str = "stream", seconds: float = 60) -> Lease:
    lease = store.lease(owner, seconds)
    assert lease is not None
    return lease


def values(store: OnlineStore, *keys: bytes) -> list[bytes | None]:
    return store.read(keys)[1]


# Generations.


def test_an_empty_store_says_how_to_build_one(store: OnlineStore) -> None:
    assert store.current() is None
    assert store.generations() == []
    assert list(store.keys(b"u:")) == []
    assert store.statistics().rows == 0
    with pytest.raises(NothingPublished, match=ADVICE):
        store.read([b"u:1"])


def test_a_generation_answers_all_keys_at_once_and_none_for_those_that_it_has_not(store: OnlineStore) -> None:
    built = build(store, [(b"u:1", b"one"), (b"u:2", b"\0\xff'\"%s {}"), (b"p:9", b"")])
    generation, found = store.read([b"u:2", b"u:3", b"u:1", b"p:9", b"u:1"])
    assert found == [b"\0\xff'\"%s {}", None, b"one", b"", b"one"]
    assert generation == built == store.current()
    assert (built.number, built.t0, built.horizon_s, built.format, built.users) == (1, T0, 129_600, 1, 2)
    assert built.bytes == sum(map(len, (b"u:1one", b"u:2\0\xff'\"%s {}", b"p:9")))
    assert built.published_at is not None
    assert built.published_at >= built.built_at
    assert store.read([]) == (built, [])


def test_a_draft_is_seen_by_no_reader_until_it_is_published(store: OnlineStore) -> None:
    first = build(store, [(b"u:1", b"old")])
    draft = store.begin(T0 + timedelta(days=1), 129_600, 1)
    store.write(draft, [(b"u:1", b"new"), (b"u:2", b"more")])
    assert store.read([b"u:1", b"u:2"]) == (first, [b"old", None])
    assert store.draft() is None
    assert store.read([b"u:1"], of=draft)[1] == [b"new"]
    complete = store.complete(draft, position="7")
    assert store.draft() == complete
    assert (complete.is_complete, complete.position, complete.users) == (True, "7", 2)
    published = store.publish(leased(store), complete, position="9")
    assert store.read([b"u:1", b"u:2"]) == (published, [b"new", b"more"])
    assert (published.position, published.number) == ("9", 2)


def test_only_what_differs_is_written_and_a_read_takes_the_newest_value_below(store: OnlineStore) -> None:
    build(store, [(b"u:%d" % n, b"same") for n in range(5000)])
    draft = store.begin(T0 + timedelta(days=1), 129_600, 1)
    items = [(b"u:%d" % n, b"other" if n % 1000 == 0 else b"same") for n in range(5000)]
    assert store.write(draft, items) == 5
    assert store.write(draft, items) == 0
    published = store.publish(leased(store), store.complete(draft, position=""), position="")
    assert values(store, b"u:0", b"u:1", b"u:4000", b"u:4999") == [b"other", b"same", b"other", b"same"]
    assert (published.users, store.statistics().rows) == (5000, 5005)


def test_a_key_that_is_removed_has_no_value_from_that_generation_on(store: OnlineStore) -> None:
    first = build(store, [(b"u:1", b"x"), (b"u:2", b"y"), (b"p:1", b"z")])
    second = build(store, [(b"u:1", None), (b"u:3", None)], days=1)
    assert values(store, b"u:1", b"u:2") == [None, b"y"]
    assert store.read([b"u:1"], of=first)[1] == [b"x"]
    assert (first.users, second.users) == (2, 1)
    assert sorted(store.keys(b"u:")) == [b"u:2"]
    assert sorted(store.keys(b"")) == [b"p:1", b"u:2"]
    assert sorted(store.keys(b"u:", of=first)) == [b"u:1", b"u:2"]
    build(store, [(b"u:1", b"again")], days=2)
    assert values(store, b"u:1") == [b"again"]


def test_a_later_build_takes_the_place_of_an_earlier_one_that_was_killed_or_still_runs(store: OnlineStore) -> None:
    build(store, [(b"u:1", b"old")])
    former = store.begin(T0 + timedelta(days=1), 129_600, 1)
    store.write(former, [(b"u:1", b"half"), (b"u:2", b"half")])
    draft = store.begin(T0 + timedelta(days=2), 129_600, 1)
    with pytest.raises(DraftGone, match="another build has begun"):
        store.write(former, [(b"u:3", b"late")])
    with pytest.raises(DraftGone):
        store.complete(former, position="")
    assert store.write(draft, [(b"u:1", b"new")]) == 1
    published = store.publish(leased(store), store.complete(draft, position=""), position="")
    assert values(store, b"u:1", b"u:2", b"u:3") == [b"new", None, None]
    assert (published.users, [one.number for one in store.generations()][-1]) == (1, published.number)
    assert store.statistics().rows == 2


def test_a_draft_that_is_not_complete_is_not_published(store: OnlineStore) -> None:
    draft = store.begin(T0, 129_600, 1)
    with pytest.raises(DraftGone, match="not complete"):
        store.publish(leased(store), draft, position="")
    assert store.current() is None


# Streamed changes and their one writer.


def test_streamed_changes_and_their_position_lie_above_the_built_values_of_their_generation_alone(
    store: OnlineStore,
) -> None:
    build(store, [(b"u:1", b"built"), (b"u:2", b"built")])
    lease = leased(store)
    store.apply(lease, {b"u:1": b"streamed", b"u:3": b"new", b"u:2": None}, position="5")
    generation, found = store.read([b"u:1", b"u:2", b"u:3"])
    assert (found, generation.position) == ([b"streamed", None, b"new"], "5")
    assert generation.applied_at is not None
    store.apply(lease, {b"u:1": b"again"}, position="6")
    draft = store.begin(T0 + timedelta(days=1), 129_600, 1)
    assert store.write(draft, [(b"u:1", b"built")]) == 0
    assert store.read([b"u:1", b"u:3"], of=draft)[1] == [b"built", None]
    draft = store.complete(draft, position="5")
    store.apply(lease, {b"u:1": b"replayed"}, position="6", to=draft)
    assert values(store, b"u:1") == [b"again"]
    store.publish(lease, draft, position="6")
    assert values(store, b"u:1", b"u:2", b"u:3") == [b"replayed", b"built", None]
    assert store.statistics().streamed == 4


def test_one_owner_has_the_lease_and_prolongs_it_under_the_same_token(store: OnlineStore) -> None:
    first = leased(store, "a")
    assert store.lease("b", 60) is None
    assert leased(store, "a", 90).token == first.token
    assert store.statistics().lease == leased(store, "a", 90) or store.statistics().lease is not None
    store.release(first)
    assert store.statistics().lease is None
    second = leased(store, "b")
    assert second.token > first.token
    store.release(first)
    assert store.lease("a", 60) is None


def test_a_holder_that_comes_back_after_its_time_changes_nothing(store: OnlineStore) -> None:
    build(store, [(b"u:1", b"built")])
    stale = leased(store, "suspended", 0.05)
    _wait_for_the_end_of(store, stale)
    with pytest.raises(LeaseLost, match="has expired"):
        store.apply(stale, {b"u:1": b"too late"}, position="1")
    fresh = leased(store, "successor")
    store.apply(fresh, {b"u:1": b"newer"}, position="2")
    with pytest.raises(LeaseLost, match="now belongs to 'successor'"):
        store.apply(stale, {b"u:1": b"older"}, position="1")
    draft = store.complete(store.begin(T0, 1, 1), position="")
    with pytest.raises(LeaseLost):
        store.publish(stale, draft, position="1")
    with pytest.raises(LeaseLost):
        store.apply(stale, {b"u:1": b"older"}, position="1", to=draft)
    generation, found = store.read([b"u:1"])
    assert (found, generation.position) == ([b"newer"], "2")


@pytest.mark.parametrize("is_draft", [False, True], ids=["current", "draft"])
def test_changes_that_follow_from_another_state_than_the_stores_change_nothing(store: OnlineStore, is_draft: bool) -> None:
    current = build(store, [(b"u:1", b"built")])
    draft = store.complete(store.begin(T0, 1, 1), position="before 5")
    before, to = (draft, draft) if is_draft else (current, None)
    lease = leased(store)
    store.apply(lease, {b"u:1": b"a"}, position="at 7", to=to, after=before)
    here = replace(before, position="at 7")
    lost = replace(before, position="at 9")
    others = [before, lost, replace(here, number=before.number + 1), replace(here, built_at=T0)]
    for other in others:
        with pytest.raises(StoreRewound, match=f"at position 'at 7' of generation {before.number}, and .* lost the last"):
            store.apply(lease, {b"u:1": b"b", b"u:2": b"b"}, position="at 10", to=to, after=other)
    generation, found = store.read([b"u:1", b"u:2"], of=to)
    assert (found, generation.position) == ([b"a", None], "at 7")
    store.apply(lease, {b"u:1": b"c"}, position="at 8", to=to, after=generation)
    assert store.read([b"u:1"], of=to)[1] == [b"c"]


def _wait_for_the_end_of(store: OnlineStore, lease: Lease) -> None:
    while store.statistics().lease is not None:
        time.sleep(0.01)


# Upkeep.


def test_a_sweep_removes_what_no_readable_generation_shows_and_changes_no_answer(store: OnlineStore) -> None:
    for number in range(1, 5):
        build(store, [(b"u:1", b"%d" % number), (b"u:2", b"same"), (b"u:3", None if number > 1 else b"x")], days=number)
        store.apply(leased(store, "builder"), {b"u:1": b"streamed %d" % number}, position=str(number))
    old = store.generations()[0]
    assert [one.number for one in store.generations()] == [1, 2, 3, 4]
    assert store.sweep(keep=1) == 0, "they were replaced a moment ago"
    # Built: u:1 of 1 and 2; u:3 and its removal. Streamed: of 1 and 2.
    assert store.sweep(keep=1, older_s=0, is_rehearsal=True) == 6
    assert store.read([b"u:1"], of=old)[1] == [b"streamed 1"]
    assert store.sweep(keep=1, older_s=0) == 6
    assert store.sweep(keep=1, older_s=0) == 0
    assert [one.number for one in store.generations()] == [3, 4]
    assert values(store, b"u:1", b"u:2", b"u:3") == [b"streamed 4", b"same", None]
    assert store.read([b"u:1", b"u:2"], of=store.generations()[0])[1] == [b"streamed 3", b"same"]
    with pytest.raises(GenerationGone, match="read the current one"):
        store.read([b"u:1"], of=old)
    assert store.statistics().rows == 5
    store.sweep(keep=0, older_s=0)
    assert store.statistics().rows == 3


def test_a_sweep_leaves_a_draft_alone(store: OnlineStore) -> None:
    build(store, [(b"u:1", b"1"), (b"u:2", b"1")])
    draft = store.begin(T0 + timedelta(days=1), 129_600, 1)
    store.write(draft, [(b"u:1", b"2"), (b"u:2", None)])
    store.sweep(keep=0, older_s=0)
    store.publish(leased(store), store.complete(draft, position=""), position="")
    assert values(store, b"u:1", b"u:2") == [b"2", None]


# What becomes of a store.


def test_a_store_that_was_flushed_says_so_to_its_readers_and_writers_and_is_built_anew(
    store: OnlineStore, place: Place
) -> None:
    build(store, [(b"u:1", b"x")])
    lease = leased(store)
    draft = store.begin(T0, 1, 1)
    store.read([b"u:1"])
    place.flush()
    with pytest.raises(StoreFlushed, match=ADVICE):
        store.read([b"u:1"])
    with pytest.raises((StoreFlushed, LeaseLost)):
        store.apply(lease, {b"u:1": b"y"}, position="1")
    with pytest.raises((StoreFlushed, DraftGone)):
        store.write(draft, [(b"u:1", b"z")])
    other = place.open()
    assert (other.current(), other.generations()) == (None, [])
    with pytest.raises(NothingPublished, match=ADVICE):
        other.read([b"u:1"])
    other.close()
    build(store, [(b"u:1", b"new")])
    assert values(store, b"u:1") == [b"new"]
    assert leased(store).token > lease.token


def test_a_store_of_another_version_is_refused_with_advice(store: OnlineStore, place: Place) -> None:
    build(store, [(b"u:1", b"x")])
    place.age()
    other = place.open()
    for call in (other.current, lambda: other.read([b"u:1"]), lambda: other.begin(T0, 1, 1), lambda: other.lease("a", 1)):
        with pytest.raises(StoreUnreadable, match=f"update the older of the two.*{ADVICE}"):
            call()
    other.close()


def test_statistics_tell_the_server_rows_and_space(store: OnlineStore, place: Place) -> None:
    build(store, [(b"u:%d" % n, bytes(100)) for n in range(1000)])
    statistics = store.statistics()
    assert statistics.server.lower().startswith(place.kind.removesuffix("ql"))
    assert (statistics.rows, statistics.streamed) == (1000, 0)
    assert statistics.stored_bytes > 100_000
