"""The world of the tests of formats."""

from collections.abc import Callable
from pathlib import Path

import pytest
from formats_world import World

from resources.lake.lake import Lake
from resources.objects.store import ObjectStore


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, object_store: Callable[[str], ObjectStore]) -> ObjectStore:
    """An empty store."""
    return object_store(request.param)


@pytest.fixture
def folder_store(object_store: Callable[[str], ObjectStore]) -> ObjectStore:
    """An empty folder as a store."""
    return object_store("folder")


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path, object_store: Callable[[str], ObjectStore]) -> World:
    """On a folder, or on S3 where a test is given that as its parameter."""
    if getattr(request, "param", "folder") == "s3":
        options = request.getfixturevalue("s3_options")
        return World(Lake(url=request.getfixturevalue("s3_url") + "/lake", **options), object_store("s3"))
    return World(Lake(url=str(tmp_path / "lake")), object_store("folder"))
