"""The code of the pages runs: each page's blocks in their order, in one project with PostgreSQL, S3 and a computed graph.

A block that can't run here says so on the page, `<!-- not run: why -->`; one that calls a program that is not installed is left out.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from page_blocks import ELSEWHERE, MARK, NO_CODE, PAGES, ROOT, blocks, runnable
from page_servers import company, moved, trust
from page_world import World, bare_environment, material, project
from versioning.git_repository import commit, git

from resources.servers.endpoints import Endpoints

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

LANGUAGES = {"sh", "python", "sql", "nginx", "caddy"}
STORY = ROOT / "docs" / "versions.md"
"""It computes the graph and makes the version that other pages name."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, services: Endpoints) -> Iterator[World]:
    """A project of its own servers, after the story of docs/versions.md, and the worlds of the blocks that say other servers."""
    folder = tmp_path_factory.mktemp("pages")
    clone = project(folder)
    material(folder)
    bare = World(clone, bare_environment(folder), {})
    settings, pages = company(services, folder / "company")
    shop = replace(bare, environment={**bare.environment, **settings}, stand_ins=pages)
    others = {
        "new-lake": replace(
            bare, environment={**bare.environment, **trust(services)}, stand_ins=moved(services, folder / "moved")
        ),
        **dict.fromkeys(("db.example.com", "company-", "schema darkroom", "shop.pictures"), shop),
    }
    few, all_of_them = f"{folder}/home/more-photos", f"{folder}/photos"
    others["my-classifier"] = bare.on_files(folder / "model")
    others["my-classifier"].shell(f"darkroom import {few} --days 1")
    others["sqlite:///darkroom.db"] = replace(bare.at(folder / "files"), stand_ins={"--photos sample": f"--photos {few}"})
    others["make run PHOTOS"] = replace(
        bare.at(folder / "first"),
        stand_ins={"/path/to/folder": few, "s3://some-bucket/prefix": "s3://uploads/uploads", "DAYS=14": "DAYS=1"},
    )
    world = replace(bare.at(folder / "data", ("photos", "text", "tables")), others=others)  # renders take long
    try:
        running = world.up()
        said = running.shell(f"darkroom import {all_of_them} --days 4")
        running.follow(STORY)
        commit(clone, "What the story has pinned")
        first, last = re.findall(r"as if on (\S+) to ([0-9-]+)", said)[0]
        yield replace(world, stand_ins={"2026-01-10": first, "2026-01-16": last})
    finally:
        world.shell("darkroom down")


@pytest.fixture
def world(home: World) -> World:
    """The same with nothing in the work tree that an earlier page has left, its servers up."""
    git(home.clone, "checkout", "--quiet", ".")
    git(home.clone, "clean", "--quiet", "-d", "--force")
    return home.up()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != STORY and runnable(page, "sh", "python", "sql")], ids=lambda page: page.name
)
def test_the_blocks_of_a_page_run(world: World, page: Path) -> None:
    world.follow(page)


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    [block] = [block for page in PAGES for block in runnable(page, "nginx")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", "key", "-out", "pem"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    code = block.code.replace("/etc/ssl/darkroom.pem", f"{tmp_path}/pem").replace(
        "/etc/ssl/private/darkroom.key", f"{tmp_path}/key"
    )
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ {code} }}")
    done = subprocess.run(["nginx", "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False)
    assert "test is successful" in done.stderr, done.stderr


def test_every_block_is_run_or_says_why_it_is_not() -> None:
    for page in PAGES:
        for block in blocks(page):
            assert block.language in LANGUAGES | NO_CODE, f"{block}: code of which language?"
            assert block.language != "caddy" or block.not_run, f"{block}: there is nothing that runs it"
            assert not block.not_run or not (block.is_run_elsewhere or block.language in NO_CODE), f"{block}: needs no mark"


def test_every_mark_stands_before_a_block_and_every_other_test_has_its_block() -> None:
    found = [block for page in PAGES for block in blocks(page)]
    assert sum(bool(block.not_run) for block in found) == sum(len(MARK.findall(page.read_text())) for page in PAGES)
    for beginning, test in ELSEWHERE.items():
        assert [block for block in found if block.code.startswith(beginning)], f"{test} runs what no page has: {beginning}"
        assert (ROOT / "tests" / test).exists()
