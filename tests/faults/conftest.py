"""Worlds to break: the servers of the session, a proxy before S3 that can fail, and a fresh copy of one small world."""

import fcntl
import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy
from world import CAMPAIGNS, NewWorld, World, database, name_of, photo

from resources.objects import s3
from resources.servers.dagster_home import write_dagster_home
from resources.servers.endpoints import Endpoints
from resources.settings import Settings

BUCKET = "faults"
PHOTOS = 30


@pytest.fixture(scope="session")
def proxy(services: Endpoints) -> Iterator[FaultProxy]:
    """The way to S3 of every world."""
    proxy = FaultProxy(services.s3_endpoint)
    yield proxy
    proxy.stop()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos to import, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(PHOTOS):
        (folder / f"photo-{number:02}.jpg").write_bytes(photo(number))
    (folder / "notes.txt").write_text("Not a photo.")
    return folder


def make_world(home: Path, services: Endpoints, proxy: FaultProxy, template: World | None) -> World:
    """A world with databases and objects of its own. The uploads, which nothing changes, are those of its template."""
    urls = ("DARKROOM_DATABASE_URL", "DARKROOM_DAGSTER_POSTGRES_URL")
    prefix = secrets.token_hex(6)
    settings = {
        "DARKROOM_HOME": str(home),
        "DARKROOM_UPLOADS_URL": template.settings["DARKROOM_UPLOADS_URL"] if template else f"s3://{BUCKET}/{prefix}/u",
        "DARKROOM_LAKE_URL": f"s3://{BUCKET}/{prefix}/lake",
        "DARKROOM_CAMPAIGNS_DIR": str(CAMPAIGNS),
        "DARKROOM_S3_ENDPOINT": proxy.endpoint,
        "DARKROOM_S3_ACCESS_KEY": services.access_key,
        "DARKROOM_S3_SECRET_KEY": services.secret_key,
        **{url: database(services.postgres_url, template and name_of(template.settings[url])) for url in urls},
    }
    return World(home, settings, services.s3_endpoint)


def once(folder: Path, name: str, proxy: FaultProxy, build: Callable[[], World]) -> World:
    """The world of this name that the first worker to ask for it builds, and the others find."""
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = folder / f"{name}.json"
        if not kept.exists():
            built = build()
            kept.write_text(json.dumps({"home": str(built.home), "settings": dict(built.settings), "direct": built.direct}))
        told = json.loads(kept.read_text())
    return World(Path(told["home"]), told["settings"] | {"DARKROOM_S3_ENDPOINT": proxy.endpoint}, told["direct"])


@pytest.fixture(scope="session")
def bare(of_all_workers: Path, services: Endpoints, s3_client: Any, proxy: FaultProxy) -> World:
    """A world with the schemas of its two databases, and nothing in them."""
    s3.ensure_bucket(s3_client, BUCKET)

    def build() -> World:
        home = of_all_workers / "bare"
        home.mkdir()
        world = make_world(home, services, proxy, None)
        world.postgres.migrate()
        with world.inside():
            import dagster as dg

            write_dagster_home(Settings())
            with dg.DagsterInstance.from_config(str(Settings().dagster_home), "cli.yaml") as instance:
                instance.get_runs_count()
        return world

    return once(of_all_workers, "bare", proxy, build)


@pytest.fixture(scope="session")
def imported(of_all_workers: Path, services: Endpoints, proxy: FaultProxy, bare: World, folder: Path) -> World:
    """The world that the others are copies of: imported, nothing computed."""

    def build() -> World:
        home = of_all_workers / "imported"
        shutil.copytree(bare.home, home)
        world = make_world(home, services, proxy, bare)
        world.import_photos(folder)
        return world

    return once(of_all_workers, "imported", proxy, build)


@pytest.fixture
def empty_world(tmp_path: Path, services: Endpoints, bare: World, proxy: FaultProxy) -> World:
    """A world of its own in which nothing is yet, with uploads of its own."""
    world = make_world(tmp_path, services, proxy, bare)
    shutil.copytree(bare.home, world.home, dirs_exist_ok=True)
    uploads = world.settings["DARKROOM_LAKE_URL"].replace("/lake", "/u")
    return World(world.home, {**world.settings, "DARKROOM_UPLOADS_URL": uploads}, world.direct)


@pytest.fixture(scope="session")
def new_world(tmp_path_factory: pytest.TempPathFactory, services: Endpoints, proxy: FaultProxy, imported: World) -> NewWorld:
    """Makes copies: of the imported world, or of another."""

    def copy(template: World = imported) -> World:
        world = make_world(tmp_path_factory.mktemp("world"), services, proxy, template)
        shutil.copytree(template.home, world.home, dirs_exist_ok=True)
        objects = template.lake_bucket.get_many(template.lake_bucket.list(""), key=lambda info: info.key)
        for _, error in world.lake_bucket.put_many((info.key, data) for info, data in objects):
            assert error is None
        return world

    return copy


@pytest.fixture(scope="session")
def computed(of_all_workers: Path, new_world: NewWorld, proxy: FaultProxy) -> World:
    """A world in which `darkroom run` has computed everything, undisturbed. For looking at only."""

    def build() -> World:
        world = new_world()
        said = world.run()
        assert said.status == 0, said.output
        return world

    return once(of_all_workers, "computed", proxy, build)


@pytest.fixture
def world(new_world: NewWorld, computed: World) -> World:
    """A copy of its own of the computed world, for one test to break."""
    return new_world(computed)
