"""The git repository around the working folder: its commit, and the references in its `datasets/`."""

import getpass
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline_assets.errors import NotARepository, ReferenceUnreadable
from pipeline_assets.versioning.reference import MAX_BYTES, Code, Reference, checked_name

FOLDER = "datasets"


@dataclass(frozen=True)
class Repository:
    """A git work tree. Reads of the past go through git; what is written is left for the user to commit."""

    root: Path

    @classmethod
    def around(cls, folder: Path) -> "Repository":
        """The repository that a folder lies in. Raises NotARepository."""
        try:
            found = subprocess.run(
                ["git", "rev-parse", "--show-toplevel"],  # noqa: S607
                cwd=folder,
                capture_output=True,
                text=True,
                check=True,
            )
        except FileNotFoundError:
            raise NotARepository("git is not installed, and references are versioned with it: install git.") from None
        except subprocess.CalledProcessError as error:
            raise NotARepository(
                f"{folder} is in no git repository, where references are kept: run `git init` or change into one. "
                f"git said: {error.stderr.strip()}"
            ) from None
        return cls(Path(found.stdout.strip()))

    @property
    def folder(self) -> Path:
        """Where references lie in the work tree."""
        return self.root / FOLDER

    def git(self, *words: str) -> str:
        """What a git command prints. Raises CalledProcessError."""
        done = subprocess.run(  # noqa: S603
            ["git", *words],  # noqa: S607
            cwd=self.root,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    @cached_property
    def code(self) -> Code:
        """HEAD, and whether all but the references is committed."""
        try:
            commit = self.git("rev-parse", "--verify", "HEAD").strip()
        except subprocess.CalledProcessError:
            return Code(commit=None, clean=False)
        return Code(commit=commit, clean=not self.git("status", "--porcelain", "--", ".", f":(exclude){FOLDER}").strip())

    @cached_property
    def author(self) -> str:
        """Who git says is at work here, else the system's user."""
        try:
            name, email = (self.git("config", f"user.{what}").strip() for what in ("name", "email"))
        except subprocess.CalledProcessError:
            return getpass.getuser()
        return f"{name} <{email}>"

    def names(self) -> list[str]:
        """The data sets that the work tree has a reference of."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def path(self, name: str) -> Path:
        """The file of a data set's reference. Raises ReferenceUnreadable for what is no name."""
        try:
            return self.folder / f"{checked_name(name)}.json"
        except ValueError as error:
            raise ReferenceUnreadable(str(error)) from None

    def read(self, name: str) -> Reference:
        """The reference NAME of the work tree, or as of another commit, branch or tag: REVISION:NAME.

        Raises ReferenceUnreadable.
        """
        revision, _, plain = name.rpartition(":")
        path = self.path(plain)
        if revision:
            return Reference.loads(self._shown(revision, path), name)
        try:
            with path.open("rb") as file:
                text = file.read(MAX_BYTES + 1)
        except OSError as error:
            there = ", ".join(self.names()) or "none yet: make one with `darkroom pin NAME`"
            raise ReferenceUnreadable(f"{path} can't be read ({error.strerror}). Data sets here: {there}.") from None
        return Reference.loads(text, f"{FOLDER}/{path.name}")

    def _shown(self, revision: str, path: Path) -> str:
        told = f"{revision}:{FOLDER}/{path.name}"
        if revision.startswith("-"):
            raise ReferenceUnreadable(f"{revision!r} is no commit, branch or tag.")
        try:
            return self.git("show", "--end-of-options", told)
        except (subprocess.CalledProcessError, UnicodeDecodeError) as error:
            said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else "it is not text"
            raise ReferenceUnreadable(f"git can't show {told}: {said}") from None

    def find(self, name: str) -> Reference | None:
        """The work tree's reference, None if there is none. Raises ReferenceUnreadable if it is broken."""
        return self.read(name) if self.path(name).exists() else None

    def write(self, reference: Reference) -> Path:
        """Put a reference into the work tree, whole or not at all, over the one before. Returns its path."""
        path = self.path(reference.name)
        self.folder.mkdir(exist_ok=True)
        beside = path.with_suffix(f".json.{os.getpid()}.part")
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.write(reference.dumps())
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        return path

    def work_trees(self) -> list["Repository"]:
        """The other work trees of this repository (`git worktree`) that are there."""
        listed = self.git("worktree", "list", "--porcelain", "-z").split("\0")
        roots = [Path(line.removeprefix("worktree ")) for line in listed if line.startswith("worktree ")]
        return [Repository(root) for root in roots if root.is_dir() and root != self.root]

    def all_references(self) -> Iterator[Reference]:
        """Every reference that any commit of any branch, tag, stash or remote holds, and those of the work tree.

        Each text once. Raises ReferenceUnreadable for one that is broken: nothing can be said of what it names.
        """
        for name in self.names():
            yield self.read(name)
        listed = self.git("rev-list", "--all", "--reflog", "--full-history", "--objects", "--", FOLDER)
        for line in listed.splitlines():
            blob, _, path = line.partition(" ")
            if path.startswith(f"{FOLDER}/") and path.endswith(".json") and path.count("/") == 1:
                yield Reference.loads(self.git("cat-file", "blob", blob), f"{path} of {blob[:12]}")
