"""Another's git repository, into which a set is exported or from which one is read."""

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline_assets.errors import ExportRefused, ImportRefused
from pipeline_assets.versioning.formats import foreign_git
from pipeline_assets.versioning.formats.foreign_git import ForeignGit
from resources import git


@dataclass(frozen=True)
class WorkTree:
    """A repository by its folder. Nothing is ever committed here: that is the user's."""

    root: Path
    _git: ForeignGit

    @classmethod
    @contextmanager
    def at(cls, target: Path) -> Iterator["WorkTree"]:
        """The work tree whose top is `target`; a new or empty folder becomes one.

        Raises ExportRefused for any other folder.
        """
        target = target.absolute()
        if not target.exists() or (target.is_dir() and not any(target.iterdir())):
            target.mkdir(parents=True, exist_ok=True)
            git.run(target, "init", "--quiet")
        if not (target / ".git").exists():
            raise ExportRefused(f"{target} is not the top of a git work tree: name one, or a new or empty folder.")
        try:
            git_dir, common_dir = foreign_git.git_dirs(target)
        except ImportRefused as error:
            raise ExportRefused(str(error)) from None
        with foreign_git.comparing(target, git_dir, common_dir) as repository:
            yield cls(target, repository)

    @classmethod
    @contextmanager
    def reading(cls, source: Path) -> Iterator["WorkTree"]:
        """The repository at `source`, with a work tree or bare. Raises ImportRefused."""
        with foreign_git.reading(source.absolute()) as repository:
            yield cls(source.absolute(), repository)

    @property
    def git_dir(self) -> Path:
        """The git folder, which linked work trees share."""
        return self._git.git_dir

    def config(self, name: str) -> str:
        """A git setting, empty if it is not set."""
        return self._git.config(name)

    def has(self, name: str) -> bool:
        """Whether git tracks anything below this name."""
        return bool(self._git.run("ls-files", "--", name))

    def refuse_links(self, *names: str) -> None:
        """Raise ExportRefused if one of these, or a folder above it, is a link: it may lead anywhere."""
        for name in names:
            for part in (self.root / name, *(self.root / name).parents):
                if part == self.root:
                    break
                if part.is_symlink():
                    raise ExportRefused(f"{part} is a link: remove it, or export elsewhere.")

    def refuse_unsaved(self, name: str, is_pointer: Callable[[Path], bool]) -> None:
        """Raise ExportRefused if replacing `name` would lose data that git does not have and that is no pointer."""
        self.refuse_links(name)
        tracked = self._git.run("ls-files", "-z", "--stage", "--", name).split(b"\0")
        if inner := next((line for line in tracked if line.startswith(b"160000 ")), None):
            submodule = os.fsdecode(inner.partition(b"\t")[2])
            raise ExportRefused(
                f"{self.root / submodule} is another repository (a submodule): move it away, or export elsewhere."
            )
        options = ("--porcelain", "-z", "--untracked-files=all", "--ignored", "--no-renames", "--ignore-submodules=all")
        changes = self._git.run("status", *options, "--", name)
        for line in filter(None, changes.split(b"\0")):
            path = self.root / os.fsdecode(line[3:])
            if path.exists() and not is_pointer(path):
                raise ExportRefused(
                    f"{path} would be replaced, and git does not have its current content: commit or remove it first."
                )

    def add_line(self, file: str, line: str) -> None:
        """Add a line to a text file at the top, unless it is there."""
        self.refuse_links(file)
        path = self.root / file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if line not in text.splitlines():
            path.write_text(f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n", encoding="utf-8")

    def list_blobs(self, revision: str) -> list[bytes]:
        """Every blob of a revision, as lines of `git ls-tree --long`. Raises ImportRefused."""
        try:
            output = self._git.run("ls-tree", "-r", "-z", "--long", "--full-tree", "--end-of-options", revision)
        except subprocess.CalledProcessError as error:
            raise ImportRefused(f"{self.root} has no {revision}: git said {error.stderr.strip()}") from None
        lines = [line for line in output.split(b"\0") if line]
        parts = (line.partition(b"\t") for line in lines)
        if missing := next((path for facts, _, path in parts if facts.endswith(b"BAD")), b""):
            raise ImportRefused(
                f"{self.root} has {revision} only in part; {os.fsdecode(missing)} is missing. A partial clone is not "
                "completed here: run `git fetch --refetch --no-filter` there first."
            )
        return lines

    def blobs(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of blobs. Raises ImportRefused if one can't be read."""
        blob_names = list(names)
        try:
            output, at, contents = self._git.run("cat-file", "--batch", stdin="\n".join([*blob_names, ""]).encode()), 0, {}
            for name in blob_names:
                end = output.index(b"\n", at)
                size = int(output[at:end].split()[2])
                contents[name] = output[end + 1 : end + 1 + size]
                at = end + size + 2
        except (subprocess.CalledProcessError, ValueError, IndexError):
            raise ImportRefused(f"{self.root} is damaged: run `git fsck` there.") from None
        return contents

    def filtered_by(self, name: str, revision: str, paths: Iterable[str]) -> set[str]:
        """The paths whose attribute `filter` has this value in a revision. Raises ImportRefused."""
        stdin = b"\0".join(map(os.fsencode, paths))
        if not stdin:
            return set()
        try:
            self._git.run("read-tree", revision, index="attributes")
            words = ("check-attr", "--cached", "-z", "--stdin", "filter")
            output = self._git.run(*words, stdin=stdin + b"\0", index="attributes").split(b"\0")
        except subprocess.CalledProcessError as error:
            raise ImportRefused(f"{self.root} has a {revision} that git can't read: {error.stderr.strip()}") from None
        return {os.fsdecode(path) for path, value in zip(output[::3], output[2::3], strict=False) if value == name.encode()}
