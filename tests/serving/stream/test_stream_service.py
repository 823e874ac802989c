"""A stream on a real store and lake: new generations, replay, one writer, flushes, and what holds it up."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from stream_world import StreamWorld, text, wait_for

from pipeline_assets.errors import JournalDamaged
from pipeline_assets.serving.state.period import Period, microseconds
from pipeline_assets.serving.stream import segments as segments_module
from pipeline_assets.serving.stream import service
from pipeline_assets.serving.stream import writer as writer_module
from pipeline_assets.serving.stream.intake import Batch, Receipt
from pipeline_assets.serving.stream.journal import Journal, Position
from pipeline_assets.serving.stream.places import Place
from pipeline_assets.serving.stream.receiving import NotTaken
from pipeline_assets.serving.stream.segments import Segments
from pipeline_assets.serving.stream.service import Stream
from pipeline_assets.serving.stream.writer import Target, Writer
from resources.errors import AlreadyRunning, StoreRewound

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StreamWorld]:
    made = StreamWorld(tmp_path)
    made.write_history()
    yield made
    made.store.close()


def streaming(world: StreamWorld, folder: str = "stream", **others: Any) -> Any:
    options = {"segment_s": 0.3, "poll_s": 0.1, **others}
    return service.streaming(world.root / "home" / folder, world.store, world.lake, world.database, **options)


def send(stream: Stream, events: Sequence[dict[str, Any]]) -> Receipt:
    return stream.receiver.offer(Batch("test", [json.dumps(event) for event in events])).result(30)


def events(world: StreamWorld, name: str, count: int = 40) -> list[dict[str, Any]]:
    return [
        world.event(f"{name}-{number}", datetime.now(UTC) - timedelta(seconds=world.rng.random() * 9e4))
        for number in range(count)
    ]


def is_applied(stream: Stream) -> bool:
    return stream.applier.place is not None and stream.applier.place.position >= stream.journal.end


def test_a_new_generation_is_brought_up_to_date_and_published_while_events_come(world: StreamWorld) -> None:
    world.publish()
    with streaming(world) as stream:
        send(stream, events(world, "a"))
        wait_for(lambda: not stream.segments.waiting() and stream.segments.flushed)
        later = Period(datetime.now(UTC), timedelta(hours=30))
        send(stream, events(world, "b"))
        world.post(200, datetime.now(UTC))
        draft = world.draft(later)
        send(stream, events(world, "c"))
        wait_for(lambda: (current := world.store.current()) is not None and current.number == draft.number)
        send(stream, events(world, "d"))
        world.post(201, datetime.now(UTC))
    assert world.differing(later) == []
    assert world.events().filter(pl.col("event_id").str.contains("^[abcd]-")).height == 160


def test_events_are_kept_without_states_and_are_in_the_first_that_come(world: StreamWorld) -> None:
    with streaming(world) as stream:
        send(stream, events(world, "a"))
        wait_for(lambda: bool(stream.held_up()))
        assert "materialize online_features" in stream.held_up()[0]
        world.draft()
        wait_for(lambda: world.store.current() is not None)
        assert stream.held_up() == []
    assert world.differing() == []


def test_states_that_were_built_anew_meanwhile_are_brought_up_to_date_from_the_lake(world: StreamWorld) -> None:
    world.publish()
    with streaming(world) as stream:
        send(stream, events(world, "a"))
    world.publish()
    assert world.differing() != []
    with streaming(world):
        pass
    assert world.differing() == []


def test_after_a_lost_journal_events_are_replayed_from_the_lake(world: StreamWorld) -> None:
    world.publish()
    with streaming(world) as stream:
        send(stream, events(world, "a"))
    world.publish()
    with streaming(world, "another") as stream:
        send(stream, events(world, "b"))
        assert send(stream, events(world, "b")).accepted == 0
        wait_for(lambda: is_applied(stream))
    assert world.differing() == []


@pytest.mark.parametrize("is_flushed", [False, True], ids=["not yet in the lake", "late in the lake"])
def test_events_that_a_build_did_not_find_in_the_lake_are_in_its_generation(world: StreamWorld, is_flushed: bool) -> None:
    world.publish()
    arrived_at = world.t0 - timedelta(hours=3)
    logins = [
        {
            "event_id": f"late-{user}",
            "user_id": user,
            "kind": "login",
            "at": text(arrived_at),
            "arrived_at": text(arrived_at),
        }
        for user in (1, 2, 3)
    ]
    lines = "".join(f"{json.dumps(login)}\n" for login in logins).encode()
    journal = Journal(world.root / "home" / ("another" if is_flushed else "stream") / "journal")
    journal.append(lines, microseconds(arrived_at))
    if is_flushed:
        journal.rotate()
        assert Segments(journal, world.lake).flush() != []
    journal.close()
    with streaming(world):
        pass
    assert world.events().filter(pl.col("event_id").str.starts_with("late-")).height == 3
    assert world.differing() == []


def test_one_stream_at_a_time_writes(world: StreamWorld) -> None:
    world.publish()
    with streaming(world):
        with pytest.raises(AlreadyRunning, match="send events to that one"), streaming(world):
            pass
        with pytest.raises(AlreadyRunning, match="writes to the online store"), streaming(world, "another"):
            pass
    with streaming(world, "another"):
        pass


def test_a_stream_that_was_suspended_and_replaced_changes_nothing_and_ends(world: StreamWorld) -> None:
    world.publish()
    with pytest.raises(AlreadyRunning), streaming(world) as stream:
        wait_for(lambda: stream.applier.place is not None)
        lease = world.store.lease(f"stream {stream.journal.lineage}", 0)  # as if its time had passed
        assert lease is not None
        assert world.store.lease("another", 60) is not None
        send(stream, events(world, "a"))
        wait_for(lambda: stream.failure is not None)
    assert world.events().filter(pl.col("event_id").str.starts_with("a-")).height == 40  # for the next one


def test_a_flush_killed_before_its_note_writes_the_same_object_and_no_other(world: StreamWorld) -> None:
    world.publish()
    with streaming(world) as stream:
        send(stream, events(world, "a"))
    (info,) = (one for one in world.lake.list("events/") if "stream-" in one.key)
    (world.root / "home" / "stream" / "journal" / "flushed").write_text("0")
    with streaming(world):
        pass
    assert [one for one in world.lake.list("events/") if "stream-" in one.key] == [info]


def test_a_journal_restored_from_an_older_copy_is_refused_and_the_lake_keeps_its_events(world: StreamWorld) -> None:
    world.publish()
    folder = world.root / "home" / "stream" / "journal"
    with streaming(world) as stream:
        send(stream, events(world, "a"))
    with streaming(world) as stream:
        send(stream, events(world, "b"))
    before = world.events()
    for path in folder.glob("*.journal"):
        if int(path.stem) > 1:
            path.unlink()
    with pytest.raises(JournalDamaged, match="older copy"), streaming(world):
        pass
    (folder / "flushed").unlink()
    with pytest.raises(JournalDamaged, match="older copy"), streaming(world) as stream:
        wait_for(lambda: stream.failure is not None)
    assert world.events().equals(before)
    folder.rename(folder.with_name("aside"))
    with streaming(world) as stream:
        send(stream, events(world, "c"))
    assert world.differing() == []


def test_a_stream_that_was_killed_before_midnight_goes_on_in_the_log_of_the_next_day(world: StreamWorld) -> None:
    world.publish()
    before = world.t0 - timedelta(seconds=5)
    line = json.dumps({**world.event("late", before), "arrived_at": text(before)})
    journal = Journal(world.root / "home" / "stream" / "journal")
    end = journal.append(f"{line}\n".encode(), microseconds(before))
    journal.close()
    lease = world.store.lease("killed", 10)
    assert lease is not None
    place = Place(journal.lineage, end, microseconds(world.t0) + 1)  # nothing has come since midnight
    world.store.apply(lease, {}, position=str(place))
    world.store.release(lease)
    with streaming(world, segment_s=60) as stream:
        send(stream, events(world, "a"))
    days = dict(world.events().filter(pl.col("event_id").str.contains("^(a-|late)")).group_by("day").len().iter_rows())
    assert days == {before.date(): 1, world.t0.date(): 40}


def test_a_sender_that_waits_no_longer_ends_no_stream(world: StreamWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish()
    with streaming(world) as stream:
        taking, going_on = threading.Event(), threading.Event()
        append = stream.journal.append

        def append_late(lines: bytes, arrived_us: int) -> Position:
            taking.set()
            assert going_on.wait(30)
            return append(lines, arrived_us)

        monkeypatch.setattr(stream.journal, "append", append_late)
        offers = []
        for name in "abc":
            offers.append(stream.receiver.offer(Batch("test", [json.dumps(one) for one in events(world, name, 1)])))
            assert taking.wait(30)
        for future in offers:
            future.cancel()
        going_on.set()
        assert send(stream, events(world, "d")).accepted == 40
        assert stream.failure is None
    assert world.differing() == []


def test_changes_of_values_in_memory_do_not_reach_a_store_that_went_back(world: StreamWorld) -> None:
    published = world.publish()
    writer = Writer(world.store, "a test")
    target = Target(published)
    writer.open(target)
    some = world.events().head(20)
    writer.apply_events(target, some, "1")
    world.store.apply(writer.lease, {}, position="0")  # as a server that has lost the last changes
    with pytest.raises(StoreRewound):
        writer.apply_events(target, some, "2")
    writer.release()


def test_values_that_fill_the_memory_in_the_middle_of_a_batch_are_kept_until_it_is_applied(
    world: StreamWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish()
    monkeypatch.setattr(writer_module, "MAX_HELD", 30)
    with streaming(world) as stream:
        for name in "abc":
            send(stream, events(world, name))
        wait_for(lambda: is_applied(stream) or stream.failure is not None)
        assert stream.failure is None
    assert world.differing() == []


def test_segments_that_nobody_needs_are_deleted_and_the_others_kept(
    world: StreamWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish()
    monkeypatch.setattr(segments_module, "KEEP_BYTES", 1)
    with streaming(world) as stream:
        for name in "abcd":
            send(stream, events(world, name))
            stream.receiver.end_segment()
        wait_for(lambda: is_applied(stream) and not stream.segments.waiting())
        wait_for(lambda: len(stream.journal.segments()) <= 2)
    assert world.differing() == []


def test_without_the_lake_events_are_taken_and_flushed_later(world: StreamWorld) -> None:
    world.publish()
    lake = world.root / "lake" / "events"
    with streaming(world) as stream:
        lake.rename(world.root / "events-aside")
        lake.write_text("in the way")
        send(stream, events(world, "a"))
        wait_for(lambda: bool(stream.lake_held_up))
        assert send(stream, events(world, "b")).accepted == 40
        lake.unlink()
        (world.root / "events-aside").rename(lake)
        wait_for(lambda: not stream.lake_held_up)
    assert world.differing() == []


def test_a_journal_without_room_takes_nothing_until_there_is_room(
    world: StreamWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish()
    with streaming(world) as stream:
        monkeypatch.setattr(service, "MAX_JOURNAL_BYTES", 1)
        wait_for(lambda: stream.receiver.held_up is not None)
        with pytest.raises(NotTaken, match="wait for the online store or the lake"):
            send(stream, events(world, "a"))
        monkeypatch.undo()
        wait_for(lambda: stream.receiver.held_up is None)
        assert send(stream, events(world, "a")).accepted == 40


def test_where_nothing_comes_the_place_says_up_to_when(world: StreamWorld) -> None:
    world.publish()
    with streaming(world) as stream:
        send(stream, events(world, "a", 1))
        wait_for(lambda: is_applied(stream))

        def arrived_us() -> int:
            current = world.store.current()
            place = Place.of(current.position) if current else None
            return place.arrived_us if place else 0

        before = arrived_us()
        wait_for(lambda: arrived_us() > before + 2_000_000)


def test_a_store_that_lost_its_last_changes_gets_them_again(world: StreamWorld) -> None:
    """Its file is replaced by an older copy, as a Redis may come back without its last second."""
    world.publish()
    file, copy = world.root / "home" / "online.db", world.root / "copy.db"
    with streaming(world) as stream:
        send(stream, events(world, "a"))
        wait_for(lambda: is_applied(stream))
        with sqlite3.connect(file) as source, sqlite3.connect(copy) as target:
            source.backup(target)
        source.close(), target.close()
        send(stream, events(world, "b"))
        wait_for(lambda: is_applied(stream))
        for name in ("online.db-wal", "online.db-shm"):
            (file.parent / name).unlink(missing_ok=True)
        copy.replace(file)
        send(stream, events(world, "c"))
        wait_for(lambda: is_applied(stream))
    assert world.differing() == []
