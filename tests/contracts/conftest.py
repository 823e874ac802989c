"""Online stores of each kind, empty, for the packs of their contract."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from key_value_servers import served
from online_stores import KINDS, Place

from resources.online.contract import OnlineStore


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[Path]:
    with served("redis") as socket:
        yield socket


@pytest.fixture(scope="session")
def valkey_socket() -> Iterator[Path]:
    with served("valkey") as socket:
        yield socket


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store of each kind. The servers start only for theirs."""
    kind, file = request.param, tmp_path / "online.db"
    if kind == "sqlite":
        return Place(kind, "", file)
    if kind == "postgres":
        return Place(kind, request.getfixturevalue("postgres_url"), file)
    socket = request.getfixturevalue(f"{kind}_socket")
    return Place(kind, f"unix://{socket}?key={{test}}{secrets.token_hex(6)}", file)


@pytest.fixture
def store(place: Place) -> Iterator[OnlineStore]:
    store = place.open()
    yield store
    store.close()
