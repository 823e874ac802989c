"""A fresh Darkroom with a few imported photos, its UI as `darkroom ui` serves it, and a real Chromium to look at it."""

import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from resources.lake import Lake
from resources.objects import ObjectStore
from resources.processes import free_ports

DARKROOM = Path(sys.executable).parent / "darkroom"
CHROMIUM_ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]
SLOW_MS = 60_000
"""How long a page may take on a machine that is busy with something else."""
DAYS = 3
PHOTOS = 12


@dataclass(frozen=True)
class Ui:
    """A running `darkroom ui`. env: what `darkroom env` prints; log: what it and its children wrote."""

    url: str
    env: Mapping[str, str]
    log: Path

    @property
    def lake(self) -> Lake:
        """The tables, read past Dagster."""
        return Lake(url="s3://lake", **self._s3)

    @property
    def uploads(self) -> ObjectStore:
        """The bucket into which users drop files."""
        return ObjectStore.open("s3://uploads", **self._s3)

    @property
    def _s3(self) -> dict[str, str]:
        names = {"endpoint": "S3_ENDPOINT", "access_key": "S3_ACCESS_KEY", "secret_key": "S3_SECRET_KEY"}
        return {key: self.env[f"DARKROOM_{name}"] for key, name in names.items()}


def photo(seed: int) -> bytes:
    """A JPEG of 320x240 pixels of smooth noise; another for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


def until(found: Callable[[], bool], what: str, seconds: float = 240) -> None:
    """Ask again until it is so. For what no page announces."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(1)


@pytest.fixture(scope="module")
def chromium() -> str:
    """Where Chromium is. Without it these tests skip, but in CI they fail: there it is not optional."""
    path = shutil.which("chromium")
    if path is None:
        reason = "no chromium on the PATH: install it with `apt-get install chromium`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="module")
def ui(chromium: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ui]:
    """`darkroom import` of a folder, then `darkroom ui` on a free port. Afterwards nothing of it runs any more."""
    root = tmp_path_factory.mktemp("ui")
    port = free_ports(1)[0]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DARKROOM_", "DAGSTER_"))}
    environment = inherited | {"DARKROOM_HOME": str(root / "home"), "DARKROOM_UI_PORT": str(port)}
    folder = root / "photos"
    (folder / "nested").mkdir(parents=True)
    for number in range(PHOTOS - 1):
        (folder / f"photo-{number:02}.jpg").write_bytes(photo(number))
    (folder / "nested" / "notes.txt").write_text("Not a photo.")
    _darkroom("import", str(folder), "--days", str(DAYS), env=environment)

    log, url = root / "ui.log", f"http://127.0.0.1:{port}"
    failed_before = request.session.testsfailed
    with log.open("wb") as output:
        # Under a shell that puts its jobs in the background SIGINT arrives ignored; Ctrl-C is what is tested here.
        serving = subprocess.Popen(
            [DARKROOM, "ui"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            until(lambda: serving.poll() is not None or _answers(url), "the UI answers", 180)
            assert serving.poll() is None, f"`darkroom ui` ended by itself:\n{log.read_text()}"
            shown = _darkroom("env", env=environment)
            exports = (shlex.split(line)[1].split("=", 1) for line in shown.splitlines())
            yield Ui(url, dict(exports), log)
        finally:
            left = _stop(serving)
            if left or request.session.testsfailed > failed_before:
                print(f"--- log of `darkroom ui` ---\n{log.read_text(errors='replace')[-20_000:]}")
    assert not left, f"Ctrl-C left these running: {left}"


@pytest.fixture(scope="module")
def page(chromium: str, ui: Ui) -> Iterator[Page]:
    """One browser tab, for the whole story."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(base_url=ui.url, viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(SLOW_MS)
        yield page
        browser.close()


def _darkroom(*arguments: str, env: Mapping[str, str]) -> str:
    done = subprocess.run([DARKROOM, *arguments], env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"darkroom {' '.join(arguments)}: {done.stdout}\n{done.stderr}"
    return done.stdout


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=10) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _stop(serving: subprocess.Popen[bytes]) -> list[str]:
    """Ctrl-C. Returns the command lines of what outlives it, which is killed then."""
    family = psutil.Process(serving.pid).children(recursive=True) if serving.poll() is None else []
    serving.send_signal(signal.SIGINT)
    try:
        serving.wait(timeout=90)
    except subprocess.TimeoutExpired:
        serving.kill()
        serving.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    left = []
    for process in alive:
        try:
            left.append(" ".join(process.cmdline())[:200])
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return left
