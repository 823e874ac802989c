"""Online stores of tests: how each kind is made, emptied, counted and opened in another process."""

import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import psycopg2
import redis
from processes import started

from resources.online.contract import Generation, Item, OnlineStore
from resources.online.opening import open_store

ROOT = Path(__file__).parents[2]
T0 = datetime(2026, 2, 1, tzinfo=UTC)
KINDS = ("sqlite", "postgres", "redis", "valkey")


@dataclass(frozen=True)
class Place:
    """Where a store of a test lies. file: used if the URL is empty."""

    kind: str
    url: str
    file: Path

    def open(self) -> OnlineStore:
        return open_store(self.url, self.file)

    def flush(self) -> None:
        """Empty the store as somebody else would."""
        if self.kind == "sqlite":
            for file in self.file.parent.glob(f"{self.file.name}*"):
                file.unlink()
        elif self.kind == "postgres":
            self.execute("drop schema darkroom_online cascade")
        else:
            with redis.Redis.from_url(self.url.partition("?")[0]) as client:
                client.flushall()

    def age(self) -> None:
        """Make the store one of a later version of Darkroom."""
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self.file)) as connection:
                connection.execute("pragma user_version = 9")
        elif self.kind == "postgres":
            self.execute("comment on schema darkroom_online is 'layout 9'")
        else:
            address, _, key = self.url.partition("?key=")
            with redis.Redis.from_url(address) as client:
                client.hset(key, b"\0current", b"9" + client.hget(key, b"\0current")[1:])

    def at(self, port: int) -> "Place":
        """The same store, whose server is behind a port of this machine."""
        if self.kind == "postgres":
            parts = urlsplit(self.url)
            netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}"
            return replace(self, url=urlunsplit(parts._replace(netloc=netloc, query="")))
        return replace(self, url=f"redis://127.0.0.1:{port}?{self.url.partition('?')[2]}")

    def execute(self, statement: str) -> None:
        """Run a statement on the PostgreSQL of the store."""
        connection = psycopg2.connect(self.url)
        try:
            connection.autocommit = True
            connection.cursor().execute(statement)
        finally:
            connection.close()

    @contextmanager
    def child(self, code: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """Another process that runs code with the store as `store`, and with all names of this module."""
        script = (
            f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'tests'), str(ROOT / 'tests' / 'contracts')]!r}\n"
            "from online_stores import *\n"
            f"store = Place({self.kind!r}, {self.url!r}, Path({str(self.file)!r})).open()\n{code}"
        )
        command = [sys.executable, "-W", "ignore", "-u", "-c", script, *arguments]
        with started(command, stdin=subprocess.PIPE) as process:
            yield process


def build(store: OnlineStore, items: Sequence[Item], *, days: int = 0) -> Generation:
    """A published generation with these items, by a builder that holds the lease for that long."""
    draft = store.begin(T0 + timedelta(days=days), 129_600, 1)
    store.write(draft, items)
    draft = store.complete(draft, position="")
    lease = store.lease("builder", 30)
    assert lease is not None
    try:
        return store.publish(lease, draft, position="")
    finally:
        store.release(lease)


def shown(number: int, key: int) -> bytes:
    """The value of a key in the generation of a number, if key k changes only where k + 1 divides the number."""
    return b"%d" % (number - number % (key + 1))


def build_overlay(store: OnlineStore, keys: int) -> Generation:
    """A published generation of so many keys with the values of `shown`, of which most have not changed."""
    draft = store.begin(T0, 129_600, 1)
    store.write(draft, [(b"u:%d" % key, shown(draft.number, key)) for key in range(keys)])
    lease = store.lease("builder", 30)
    assert lease is not None
    return store.publish(lease, store.complete(draft, position=""), position="")


@contextmanager
def relayed(place: Place) -> Iterator[tuple[Place, list[int]]]:
    """The store's server behind a relay, and its round trips: one for each time that a client speaks after the server.

    Nothing of the relay is left once its block has ended.
    """
    trips: list[int] = []
    with ExitStack() as threads, ExitStack() as ends, socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def accept() -> None:
            while True:
                client = listener.accept()[0]
                ends.callback(_hang_up, client)
                if ended.is_set():
                    return
                server = _connect(place)
                ends.callback(_hang_up, server)
                turns = ["server"]
                _begin(threads, _pump, client, server, turns, "client", trips)
                _begin(threads, _pump, server, client, turns, "server", trips)

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield place.at(listener.getsockname()[1]), trips
        finally:
            ended.set()
            # Closing a listener wakes nobody who waits for it: a last client does.
            socket.create_connection(listener.getsockname()).close()
            accepting.join()


def _begin(threads: ExitStack, target: Callable[..., None], *arguments: Any) -> None:
    thread = threading.Thread(target=target, args=arguments)
    threads.callback(thread.join)
    thread.start()


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def _pump(source: socket.socket, sink: socket.socket, turns: list[str], who: str, trips: list[int]) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 20):
            if turns[-1] != who:
                turns.append(who)
                if who == "client":
                    trips.append(1)
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _connect(place: Place) -> socket.socket:
    parts = urlsplit(place.url)
    query = dict(parse_qsl(parts.query))
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{query['host']}/.s.PGSQL.{query.get('port', 5432)}" if place.kind == "postgres" else parts.path)
    return server
