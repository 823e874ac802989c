"""Another user of this machine: a process with another uid, which does something and tells what it heard.

Root alone can make one; tests that need one are skipped for everybody else.
"""

import multiprocessing
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

UID = 54_321
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user")
WAIT_S = 60
PASSWORD_PLEASE = b"R\x00\x00\x00\x08\x00\x00\x00\x03"
_PLAIN_OR_ENCRYPTED = b"\x04\xd2\x16"
"""With what libpq asks whether the connection may be encrypted: no."""
REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"


class Stranger:
    """The other user, at work until the block ends."""

    def __init__(self, process: Any, pipe: Connection) -> None:
        self._process, self._pipe = process, pipe

    def told(self) -> Any:
        """The next thing that it tells."""
        assert self._pipe.poll(WAIT_S), "the other user tells nothing"
        return self._pipe.recv()

    def heard(self) -> list[Any]:
        """All that it has told so far."""
        found = []
        while self._pipe.poll():
            found.append(self._pipe.recv())
        return found


@contextmanager
def stranger(act: Callable[..., None], *arguments: Any) -> Iterator[Stranger]:
    """Have another user call act(tell, *arguments) for the length of the block."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_become, args=(act, there, arguments), daemon=True)
    process.start()
    try:
        yield Stranger(process, here)
    finally:
        process.kill()
        process.join()


def _become(act: Callable[..., None], pipe: Connection, arguments: tuple[Any, ...]) -> None:
    os.setgroups([])
    os.setgid(UID)
    os.setuid(UID)
    act(pipe.send, *arguments)


def ports_of(pattern: str, command: str) -> Iterator[int]:
    """Ports that command lines which contain `command` name by a pattern, as soon as they do: process lists are public."""
    seen = set()
    while True:
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            for found in re.findall(pattern, line) if command in line else ():
                if found not in seen:
                    seen.add(found)
                    yield int(found)


def bind(port: int) -> socket.socket | None:
    """Listen on 127.0.0.1:port, where that is free."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(64)
    except OSError:
        listener.close()
        return None
    return listener


def listen(
    tell: Callable[[Any], None], listener: socket.socket, answer: bytes, context: ssl.SSLContext | None = None
) -> None:
    """Take every connection, tell the bytes that come, and answer."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_converse, args=(tell, connection, answer, context), daemon=True).start()


def _converse(tell: Callable[[Any], None], plain: socket.socket, answer: bytes, context: ssl.SSLContext | None) -> None:
    plain.settimeout(10)
    try:
        connection = context.wrap_socket(plain, server_side=True) if context else plain
        while data := connection.recv(65_536):
            tell(data)
            connection.sendall(b"N" if data[4:7] == _PLAIN_OR_ENCRYPTED else answer)
    except OSError:
        pass
    finally:
        plain.close()


def take_first(tell: Callable[[Any], None], pattern: str, command: str, answer: bytes, times: int) -> None:
    """Bind the ports of a server that starts before it can, so many of them; tell `("took", port)` for each."""
    for port in ports_of(pattern, command):
        listener = bind(port)
        if listener is None:
            continue
        tell(("took", port))
        threading.Thread(target=listen, args=(tell, listener, answer), daemon=True).start()
        times -= 1
        if not times:
            break
    threading.Event().wait()


def take(tell: Callable[[Any], None], port: int, answer: bytes, context: ssl.SSLContext | None = None) -> None:
    """Listen on one port as soon as it is free."""
    while (listener := bind(port)) is None:
        pass
    tell(("took", port))
    listen(tell, listener, answer, context)
