"""The git repository around the working folder: its commit, and the references in its `datasets/`."""

import getpass
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline_assets.errors import NotARepository, ReferenceUnreadable
from pipeline_assets.versioning.pin.reference import MAX_BYTES, Code, Reference, checked_name
from resources import files, git

FOLDER = "datasets"
MAIN_LINES = ("HEAD", "refs/heads/main", "refs/heads/master", "refs/remotes/origin/HEAD")
"""Refs with only commits that were checked out or merged here; other branches, tags and remotes may be a stranger's."""


@dataclass(frozen=True)
class Repository:
    """A git work tree. Older versions are read through git; written files are left for the user to commit."""

    root: Path

    @classmethod
    def around(cls, folder: Path) -> "Repository":
        """The repository that a folder lies in. Raises NotARepository."""
        try:
            root = git.run(folder, "rev-parse", "--show-toplevel")
        except FileNotFoundError:
            raise NotARepository("git is not installed, and references are versioned with it: install git.") from None
        except subprocess.CalledProcessError as error:
            raise NotARepository(
                f"{folder} is in no git repository, where references are kept: run `git init` or change into one. "
                f"git said: {error.stderr.strip()}"
            ) from None
        return cls(Path(os.fsdecode(root).strip()))

    def has(self, name: str) -> bool:
        """Whether git has an object of this name here."""
        try:
            self.git("cat-file", "-e", name)
        except subprocess.CalledProcessError:
            return False
        return True

    def main_line_with(self, commit: str) -> str:
        """The first of MAIN_LINES that contains a commit; empty if none does."""
        for ref in MAIN_LINES:
            try:
                self.git("merge-base", "--is-ancestor", commit, ref)
            except subprocess.CalledProcessError:
                continue
            return ref
        return ""

    @property
    def folder(self) -> Path:
        """The folder of references in the work tree."""
        return self.root / FOLDER

    def git(self, *words: str) -> str:
        """The output of a git command. Raises CalledProcessError, and UnicodeDecodeError for output that is not text."""
        return git.run(self.root, *words).decode()

    @cached_property
    def code(self) -> Code:
        """HEAD, and whether everything except the references is committed."""
        try:
            commit = self.git("rev-parse", "--verify", "HEAD").strip()
        except subprocess.CalledProcessError:
            return Code(commit=None, clean=False)
        return Code(commit=commit, clean=not self.git("status", "--porcelain", "--", ".", f":(exclude){FOLDER}").strip())

    @cached_property
    def author(self) -> str:
        """The user of git's configuration, else the system's user."""
        try:
            name, email = (self.git("config", f"user.{field}").strip() for field in ("name", "email"))
        except subprocess.CalledProcessError:
            return getpass.getuser()
        return f"{name} <{email}>"

    def names(self) -> list[str]:
        """Names of the data sets in the work tree."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def path(self, name: str) -> Path:
        """The file of a data set's reference. Raises ReferenceUnreadable for an invalid name."""
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
            return Reference.loads(self._text_at(revision, path), name)
        try:
            with path.open("rb") as file:
                text = file.read(MAX_BYTES + 1)
        except OSError as error:
            available = ", ".join(self.names()) or "none yet: make one with `darkroom pin NAME`"
            raise ReferenceUnreadable(f"{path} can't be read ({error.strerror}). Data sets here: {available}.") from None
        return Reference.loads(text, f"{FOLDER}/{path.name}")

    def _text_at(self, revision: str, path: Path) -> str:
        object_name = f"{revision}:{FOLDER}/{path.name}"
        if revision.startswith("-"):
            raise ReferenceUnreadable(f"{revision!r} is no commit, branch or tag.")
        try:
            return self.git("show", "--end-of-options", object_name)
        except (subprocess.CalledProcessError, UnicodeDecodeError) as error:
            reason = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else "it is not text"
            raise ReferenceUnreadable(f"git can't show {object_name}: {reason}") from None

    def find(self, name: str) -> Reference | None:
        """The work tree's reference, None if there is none. Raises ReferenceUnreadable if it is broken."""
        return self.read(name) if self.path(name).exists() else None

    def write(self, reference: Reference) -> Path:
        """Write a reference into the work tree atomically, replacing the previous one. Returns its path."""
        path = self.path(reference.name)
        self.folder.mkdir(exist_ok=True)
        files.write(path, reference.dumps(), is_synced=True)
        return path

    def work_trees(self) -> list["Repository"]:
        """The other existing work trees of this repository (`git worktree`)."""
        lines = self.git("worktree", "list", "--porcelain", "-z").split("\0")
        roots = [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]
        return [Repository(root) for root in roots if root.is_dir() and root != self.root]

    def all_references(self) -> Iterator[Reference]:
        """Every reference that any commit of any branch, tag, stash or remote holds, and those of the work tree.

        Each text once. Raises ReferenceUnreadable for a broken one: what it names is unknown.
        """
        for name in self.names():
            yield self.read(name)
        objects = self.git("rev-list", "--all", "--reflog", "--full-history", "--objects", "--", FOLDER)
        for line in objects.splitlines():
            blob, _, path = line.partition(" ")
            if path.startswith(f"{FOLDER}/") and path.endswith(".json") and path.count("/") == 1:
                yield Reference.loads(self.git("cat-file", "blob", blob), f"{path} of {blob[:12]}")
