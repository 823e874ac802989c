"""Another's git repository, into which a set is exported or from which one is read."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline_assets.errors import ExportRefused, ImportRefused


@dataclass(frozen=True)
class WorkTree:
    """A repository by its folder. Nothing is ever committed here: that is the user's."""

    root: Path

    @classmethod
    def at(cls, target: Path) -> "WorkTree":
        """The work tree whose top is `target`; one is made of a folder that is new or empty.

        Raises ExportRefused for any other folder.
        """
        target = target.absolute()
        if not target.exists() or (target.is_dir() and not any(target.iterdir())):
            target.mkdir(parents=True, exist_ok=True)
            _git(target, "init", "--quiet")
        if not (target / ".git").exists():
            raise ExportRefused(f"{target} is not the top of a git work tree: name one, or a folder that is new or empty.")
        return cls(target)

    @classmethod
    def reading(cls, source: Path) -> "WorkTree":
        """The repository that lies at `source`, with a work tree or bare. Raises ImportRefused."""
        tree = cls(source.absolute())
        try:
            if tree.root.is_dir() and (tree.git("rev-parse", "--show-cdup") in (b"\n", b"")):
                return tree
        except subprocess.CalledProcessError:
            pass
        raise ImportRefused(f"{source} is not the top of a git repository: name its folder, cloned to this machine.")

    @cached_property
    def git_dir(self) -> Path:
        """Git's own folder, which linked work trees share."""
        return self.root / os.fsdecode(self.git("rev-parse", "--git-common-dir").strip())

    def git(self, *words: str, told: bytes | None = None, env: dict[str, str] | None = None) -> bytes:
        """What a git command prints. Raises CalledProcessError."""
        return _git(self.root, *words, told=told, env=env)

    def config(self, name: str) -> str:
        """A setting of git, empty if it has none."""
        try:
            return self.git("config", "--get", name).decode().strip()
        except subprocess.CalledProcessError:
            return ""

    def refuse_unsaved(self, name: str, is_pointer: Callable[[Path], bool]) -> None:
        """Raise ExportRefused if replacing `name` would lose anything: what git has not, and is no pointer."""
        if (self.root / name).is_symlink():
            raise ExportRefused(f"{self.root / name} is a link: remove it, or export elsewhere.")
        listed = self.git("status", "--porcelain", "-z", "--untracked-files=all", "--ignored", "--no-renames", "--", name)
        for line in filter(None, listed.split(b"\0")):
            path = self.root / os.fsdecode(line[3:])
            if path.exists() and not is_pointer(path):
                raise ExportRefused(f"{path} would be replaced, and git has it not as it is: commit or remove it first.")

    def add_line(self, file: str, line: str) -> None:
        """See that a text file at the top has this line."""
        path = self.root / file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if line not in text.splitlines():
            path.write_text(f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n", encoding="utf-8")

    def listed(self, revision: str) -> list[bytes]:
        """Every blob of a revision, as `git ls-tree --long` says it. Raises ImportRefused."""
        try:
            found = self.git("ls-tree", "-r", "-z", "--long", "--full-tree", "--end-of-options", revision)
        except subprocess.CalledProcessError as error:
            raise ImportRefused(f"{self.root} has no {revision}: git said {os.fsdecode(error.stderr).strip()}") from None
        return [line for line in found.split(b"\0") if line]

    def blobs(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of blobs."""
        wanted = list(names)
        found, at, contents = self.git("cat-file", "--batch", told="\n".join([*wanted, ""]).encode()), 0, {}
        for name in wanted:
            end = found.index(b"\n", at)
            size = int(found[at:end].split()[2])
            contents[name] = found[end + 1 : end + 1 + size]
            at = end + size + 2
        return contents

    def filtered_by(self, name: str, revision: str, paths: Iterable[str]) -> set[str]:
        """Those of the paths whose attribute `filter` has this value in a revision."""
        told = b"\0".join(map(os.fsencode, paths))
        if not told:
            return set()
        with tempfile.TemporaryDirectory() as folder:
            env = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self.git("read-tree", revision, env=env)
            found = self.git("check-attr", "--cached", "-z", "--stdin", "filter", told=told + b"\0", env=env).split(b"\0")
        return {os.fsdecode(path) for path, value in zip(found[::3], found[2::3], strict=False) if value == name.encode()}


def _git(folder: Path, *words: str, told: bytes | None = None, env: dict[str, str] | None = None) -> bytes:
    return subprocess.run(  # noqa: S603
        ["git", *words],  # noqa: S607
        cwd=folder,
        input=told,
        capture_output=True,
        check=True,
        env={**os.environ, **(env or {})},
    ).stdout
