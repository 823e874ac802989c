"""An OnlineStore under processes that read, write and are killed at the same time: on every backend."""

import signal
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from key_value_servers import served
from online_stores import T0, Place, build, build_overlay, relayed, shown

from resources.errors import DatabaseUnusable, NoSpace, StoreRewound, StoreUnavailable
from resources.online.contract import OnlineStore
from resources.online.opening import open_store

pytestmark = pytest.mark.slow

KEYS = 40
READER = f"""
numbers, keys = [], [b"u:%d" % key for key in range({KEYS})]
while True:
    generation, values = store.read(keys)
    wanted = [shown(generation.number, key) for key in range({KEYS})]
    assert values == wanted, (generation.number, values)
    assert not numbers or numbers[-1] <= generation.number
    if not numbers or numbers[-1] < generation.number:
        numbers.append(generation.number)
        print(generation.number)
"""
BUILDER = f"""
while True:
    print(build_overlay(store, {KEYS}).number)
"""
STREAM = """
import itertools
lease = store.lease("builder", 600)
for position in itertools.count(int(store.current().position or 0) + 1):
    store.apply(lease, {b"u:%d" % key: b"%d" % position for key in range(200)}, position=str(position))
    print(position)
"""


def test_readers_in_another_process_never_see_two_generations_in_one_answer(place: Place, store: OnlineStore) -> None:
    build_overlay(store, KEYS)
    with place.child(READER) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "1\n"
        for number in range(2, 31):
            assert build_overlay(store, KEYS).number == number
            store.sweep(keep=number % 3, older_s=0)
        while (line := reader.stdout.readline().strip()).isdigit() and int(line) < 30:
            pass
        assert line == "30", line + reader.stdout.read()


def test_a_build_that_is_killed_anywhere_leaves_a_whole_generation_and_the_next_one_finishes(
    place: Place, store: OnlineStore
) -> None:
    build_overlay(store, KEYS)
    for lines in (1, 2, 4):
        _kill_after(lines, place, BUILDER)
        generation, values = store.read([b"u:%d" % key for key in range(KEYS)])
        assert values == [shown(generation.number, key) for key in range(KEYS)]
        assert generation.users == KEYS
        fresh = build_overlay(store, KEYS)
        assert store.read([b"u:0", b"u:1"]) == (fresh, [shown(fresh.number, 0), shown(fresh.number, 1)])
        assert fresh.users == KEYS


def test_changes_and_their_position_are_stored_together_or_not_at_all_if_the_writer_is_killed(
    place: Place, store: OnlineStore
) -> None:
    build_overlay(store, KEYS)
    for lines in (1, 2, 4):
        _kill_after(lines * 3, place, STREAM)
        generation, values = store.read([b"u:%d" % key for key in range(200)])
        assert set(values) == {generation.position.encode()}


def _kill_after(lines: int, place: Place, code: str) -> None:
    """Kill a process somewhere in what follows after it has printed so many lines."""
    with place.child(code) as process:
        assert process.stdout is not None
        for number in range(lines):
            assert (line := process.stdout.readline()).strip().isdigit(), (number, line, process.stdout.read())
        time.sleep(0.0007 * lines)
        process.send_signal(signal.SIGKILL)
        process.wait()


# One round trip.


@pytest.mark.parametrize("count", [1, 50])
def test_a_read_is_one_round_trip_whatever_the_number_of_keys(place: Place, store: OnlineStore, count: int) -> None:
    build_overlay(store, KEYS)
    if place.kind == "sqlite":
        return  # it has none
    with relayed(place) as (other, trips):
        reader = other.open()
        reader.read([b"u:1"])
        before = len(trips)
        for _ in range(7):
            reader.read([b"u:%d" % key for key in range(count)])
        assert len(trips) - before == 7
        reader.close()


# Servers that don't answer.


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone:s3cr3t@127.0.0.1:1/x",
        "redis://someone:s3cr3t@127.0.0.1:1/0",
        "rediss://:s3cr3t@127.0.0.1:1/0",
        "unix://:s3cr3t@/nowhere/socket",
        "redis://someone:s3cr3t@no-such-host.invalid:6379/0?password_in_clear=true",
        "redis://someone:s3cr3t@127.0.0.1:1/0?cluster=true",
    ],
)
def test_a_server_that_is_away_is_named_without_its_password(url: str, tmp_path: Path) -> None:
    for call in (lambda s: s.current(), lambda s: s.read([b"u:1"]), lambda s: s.begin(T0, 1, 1), lambda s: s.lease("a", 1)):
        with pytest.raises(StoreUnavailable, match="correct DARKROOM_ONLINE_URL") as raised:
            call(open_store(url, tmp_path / "online.db"))
        shown = "".join(traceback.format_exception(raised.value))
        assert "s3cr3t" not in shown
        assert "s3cr3t" not in repr(raised.value)


def test_an_address_of_another_kind_is_refused_with_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable, match=r"'mysql': write postgresql://, redis://") as raised:
        open_store("mysql://me:s3cr3t@host/db", tmp_path / "online.db")
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:s3%cr3t@127.0.0.1:1/x",
        "postgresql://me:s3c/r3t@127.0.0.1:1/x",
        "postgresql://me:s3cr3t@127.0.0.1:1/x?s3cr3t=1",
        "redis://:s3c/r3t@127.0.0.1:1/0",
        "redis://:[s3cr3t@127.0.0.1:1/0",
        "redis://:s3cr3t@127.0.0.1:1/0?s3cr3t=1",
        "redis://:s3cr3t@127.0.0.1:1/0?socket_timeout=s3cr3t",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_any_part_of_its_password(address: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable, match=r"DARKROOM_ONLINE_URL can't be read: write .*://.* %2F") as raised:
        open_store(address, tmp_path / "online.db").current()
    assert "s3" not in "".join(traceback.format_exception_only(raised.value))
    assert raised.value.__cause__ is None


def test_a_server_that_lost_its_last_changes_takes_no_later_ones(redis_socket: Path) -> None:
    place = Place("redis", f"unix://{redis_socket}?key=rewound", Path())
    store = place.open()
    build_overlay(store, 3)
    lease = store.lease("builder", 30)
    assert lease is not None
    with redis.Redis(unix_socket_path=str(redis_socket)) as server:
        copy = server.dump("rewound")
        before = store.read([])[0]
        store.apply(lease, {b"u:0": b"one"}, position="1", after=before)
        server.restore("rewound", 0, copy, replace=True)  # as a replica that takes over, or an older file after a crash
    with pytest.raises(StoreRewound, match="lost the last changes"):
        store.apply(lease, {b"u:1": b"two"}, position="2", after=replace(before, position="1"))
    assert store.read([b"u:0", b"u:1"]) == (before, [b"1", b"0"])
    store.close()


def test_a_wrong_password_of_redis_is_refused_with_advice() -> None:
    with served("valkey", "--requirepass", "right") as socket:
        with pytest.raises(DatabaseUnusable, match="correct user and password"):
            open_store(f"unix://:wrong@{socket}", Path()).read([b"u:1"])
        store = open_store(f"unix://:right@{socket}", Path())
        build_overlay(store, 3)
        assert store.read([b"u:0"])[1] == [b"1"]
        store.close()


def test_a_store_on_a_cluster_keeps_its_contract_since_all_of_it_is_on_one_node(free_port: int) -> None:
    with served("valkey", "--cluster-enabled", "yes", "--port", str(free_port)):
        with redis.Redis(port=free_port) as client:
            client.execute_command("cluster", "addslotsrange", 0, 16383)
            while b"cluster_state:ok" not in client.execute_command("cluster", "info", NEVER_DECODE=True):
                time.sleep(0.02)
        store = open_store(f"redis://127.0.0.1:{free_port}?cluster=true", Path())
        for _ in range(3):
            build_overlay(store, KEYS)
        generation, values = store.read([b"u:%d" % key for key in range(KEYS)])
        assert values == [shown(generation.number, key) for key in range(KEYS)]
        assert store.sweep(keep=0, older_s=0) > 0
        assert sorted(store.keys(b"u:")) == sorted(b"u:%d" % key for key in range(KEYS))
        assert store.statistics().rows == KEYS
        store.close()


def test_a_redis_without_room_says_so_and_keeps_what_it_has() -> None:
    with served("redis", "--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as socket:
        store = open_store(f"unix://{socket}", Path())
        first = build(store, [(b"u:1", b"old")])
        draft = store.begin(T0, 1, 1)
        with pytest.raises(NoSpace, match="darkroom online sweep"):
            store.write(draft, ((b"u:%d" % key, bytes(200)) for key in range(50_000)))
        assert store.read([b"u:1"]) == (first, [b"old"])
        store.close()


def test_a_redis_that_is_busy_with_a_script_is_away_and_comes_back() -> None:
    with served("redis", "--lua-time-limit", "1") as socket, redis.Redis(unix_socket_path=str(socket)) as other:
        store = open_store(f"unix://{socket}", Path())
        first = build(store, [(b"u:1", b"old")])

        def be_busy() -> None:
            with suppress(redis.ResponseError):  # it is killed
                other.eval("while true do end", 0)

        busy = threading.Thread(target=be_busy)
        busy.start()
        with pytest.raises(StoreUnavailable, match="BUSY"):
            while busy.is_alive():
                store.read([b"u:1"])
        with redis.Redis(unix_socket_path=str(socket)) as killer:
            killer.script_kill()
        busy.join()
        assert store.read([b"u:1"]) == (first, [b"old"])
        store.close()


def test_a_server_that_restarts_between_two_reads_is_found_again(place: Place, store: OnlineStore) -> None:
    build_overlay(store, KEYS)
    store.read([b"u:1"])
    if place.kind == "postgres":
        place.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'darkroom online'")
    elif place.kind != "sqlite":
        with redis.Redis.from_url(place.url.partition("?")[0]) as client:
            client.execute_command("client", "kill", "type", "normal")
    assert store.read([b"u:0"])[1] == [b"1"]


def test_a_file_of_sqlite_is_its_owners_alone_and_a_damaged_one_may_be_removed(tmp_path: Path) -> None:
    file = tmp_path / "online.db"
    store = open_store("", file)
    build_overlay(store, KEYS)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    store.close()
    for path in tmp_path.iterdir():
        path.write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseUnusable, match=r"holds nothing that is not in the lake: remove it"):
        open_store("", file).read([b"u:1"])
