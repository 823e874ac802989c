"""Who keeps versions of a folder: Darkroom, DVC and git-lfs, each by its own commands, whole processes, on one S3 server."""

import filecmp
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contests import measured
from benchmarks.rivals.environments import python_of
from resources.servers.endpoints import Endpoints

BUCKET = "versions"
CONTENTS = ".darkroom/cache/contents"
"""Our cache of contents. What is beside it remembers which files a pin has read."""
SECOND = "again"
"""The folder of a second copy, where a tool has one."""


class Versioner(ABC):
    """A tool at work in one folder, a git repository with the data in `data/`."""

    def __init__(self, work: Path, endpoints: Endpoints) -> None:
        self.work = work
        self.endpoints = endpoints
        self.data = work / "data"
        self.env = {
            "AWS_ENDPOINT_URL": endpoints.s3_endpoint,
            **dict.fromkeys(("SSL_CERT_FILE", "AWS_CA_BUNDLE"), endpoints.ca_bundle),
            "AWS_ACCESS_KEY_ID": endpoints.access_key,
            "AWS_SECRET_ACCESS_KEY": endpoints.secret_key,
            "AWS_DEFAULT_REGION": endpoints.region,
        }

    def seconds(self, *commands: Sequence[str]) -> float:
        """How long the commands take, one after the other. Raises CommandFailed."""
        return sum(measured(command, cwd=self.work, env=self.env).wall_s for command in commands)

    def git(self, *words: str) -> None:
        """Something that is not measured. Raises CalledProcessError."""
        who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
        subprocess.run(["git", *who, *words], cwd=self.work, check=True, capture_output=True, env={**os.environ, **self.env})

    @abstractmethod
    def begin(self) -> None:
        """Make the repository. Not measured."""

    @abstractmethod
    def keep(self) -> float:
        """Seconds to version the data and send it to the store. The commit that follows is not measured."""

    @abstractmethod
    def check_out(self, *, is_linked: bool) -> tuple[float, Path]:
        """Seconds to get the data back from the cache that `fetch` has filled, as copies or hard links, and where."""

    @abstractmethod
    def fetch(self) -> tuple[float, Path]:
        """Seconds to get the data into an empty cache, and where they are."""


class Darkroom(Versioner):
    """pin --folder; checkout."""

    def begin(self) -> None:
        """A repository with one commit; the lake is a place of its own in the bucket."""
        self.env |= settings(self.work / ".darkroom", f"s3://{BUCKET}/{self.work.name}", self.endpoints)
        self.git("init", "-q")
        (self.work / ".gitignore").write_text(f".darkroom\ndata\n{SECOND}\n")
        self.git("add", ".")
        self.git("commit", "-qm", "begin")

    def keep(self) -> float:
        """One pin sends too."""
        seconds_taken = self.seconds(darkroom("pin", "data", "--folder", "data"))
        self.git("add", "datasets")
        self.git("commit", "-qm", "data")
        return seconds_taken

    def check_out(self, *, is_linked: bool) -> tuple[float, Path]:
        """Into a second folder."""
        shutil.rmtree(self.work / SECOND, ignore_errors=True)
        link = "hard" if is_linked else "copy"
        return self.seconds(darkroom("checkout", "data", SECOND, "--link", link)), self.work / SECOND

    def fetch(self) -> tuple[float, Path]:
        """Into a second folder, with the cache of contents emptied."""
        shutil.rmtree(self.work / CONTENTS, ignore_errors=True)
        shutil.rmtree(self.work / SECOND, ignore_errors=True)
        return self.seconds(darkroom("checkout", "data", SECOND)), self.work / SECOND


class Dvc(Versioner):
    """Add and push; checkout; pull."""

    def begin(self) -> None:
        """A repository with a remote of its own in the bucket."""
        self.env |= {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(self.work.with_name(f"{self.work.name}-site"))}
        self.git("init", "-q")
        self.seconds(
            self._dvc("init", "-q"),
            self._dvc("remote", "add", "-q", "-d", "store", f"s3://{BUCKET}/{self.work.name}"),
            self._dvc("remote", "modify", "-q", "store", "endpointurl", self.endpoints.s3_endpoint),
        )

    def keep(self) -> float:
        """Add and push."""
        seconds_taken = self.seconds(self._dvc("add", "-q", "data"), self._dvc("push", "-q"))
        self.git("add", ".")
        self.git("commit", "-qm", "data")
        return seconds_taken

    def check_out(self, *, is_linked: bool) -> tuple[float, Path]:
        """In place, once the data are gone."""
        shutil.rmtree(self.data)
        self.seconds(self._dvc("config", "cache.type", "hardlink" if is_linked else "copy"))
        return self.seconds(self._dvc("checkout", "-q")), self.data

    def fetch(self) -> tuple[float, Path]:
        """In place, once data and cache are gone."""
        shutil.rmtree(self.data)
        shutil.rmtree(self.work / ".dvc/cache")
        self.seconds(self._dvc("config", "cache.type", "reflink,copy"))
        return self.seconds(self._dvc("pull", "-q")), self.data

    @staticmethod
    def _dvc(*words: str) -> list[str]:
        return [str(python_of("dvc").with_name("dvc")), *words]


class GitLfs(Versioner):
    """git add with the filter, and lfs push to a folder, since it has no server here; lfs checkout; lfs pull."""

    def begin(self) -> None:
        """A repository with the filter, and a bare one to push to."""
        bare = self.work.with_name(f"{self.work.name}.git")
        subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
        self.git("init", "-q")
        self.git(
            "config", "gc.auto", "0"
        )  # git packs ten thousand new objects behind our back, and `git lfs push` misses one
        self.git("remote", "add", "origin", bare.as_uri())
        self.git("lfs", "install", "--local")
        self.git("lfs", "track", "data/**")
        self.git("add", ".gitattributes")
        self.git("commit", "-qm", "begin")

    def keep(self) -> float:
        """Add and push of the objects; the commit between them is not counted."""
        seconds_taken = self.seconds(["git", "add", "data"])
        self.git("commit", "-qm", "data")
        return seconds_taken + self.seconds(["git", "lfs", "push", "--all", "origin"])

    def check_out(self, *, is_linked: bool) -> tuple[float, Path]:
        """In place, once the data are gone; it copies always."""
        shutil.rmtree(self.data)
        return self.seconds(["git", "lfs", "checkout"]), self.data

    def fetch(self) -> tuple[float, Path]:
        """In place, once data and objects are gone."""
        shutil.rmtree(self.data)
        shutil.rmtree(self.work / ".git/lfs/objects")
        return self.seconds(["git", "lfs", "pull"]), self.data


def darkroom(*words: str) -> list[str]:
    """A command of ours."""
    return [str(Path(sys.executable).with_name("darkroom")), *words]


def settings(home: Path, lake_url: str, endpoints: Endpoints) -> dict[str, str]:
    """The environment of a Darkroom with a home and a lake of its own on servers that run."""
    return {
        "DARKROOM_HOME": str(home),
        "DARKROOM_DATABASE_URL": endpoints.postgres_url,
        "DARKROOM_DAGSTER_POSTGRES_URL": endpoints.dagster_postgres_url,
        "DARKROOM_LAKE_URL": lake_url,
        "DARKROOM_S3_ENDPOINT": endpoints.s3_endpoint,
        "DARKROOM_S3_CA_BUNDLE": endpoints.ca_bundle,
        "DARKROOM_S3_ACCESS_KEY": endpoints.access_key,
        "DARKROOM_S3_SECRET_KEY": endpoints.secret_key,
    }


def assert_same(source: Path, checked_out: Path) -> None:
    """Every file of the source is there, byte for byte."""
    names = [str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()]
    equal, differing, missing = filecmp.cmpfiles(source, checked_out, names, shallow=False)
    assert len(equal) == len(names), (differing[:3], missing[:3])
