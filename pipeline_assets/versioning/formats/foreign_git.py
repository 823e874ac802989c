"""Reads an untrusted git repository: git runs in a folder of ours, with its branches and objects, without its settings.

In a repository from an archive or a disk, settings and hooks may name any program: for a partial clone's remote, a filter, a
file system monitor. Only settings of how files are compared are copied, by name and value.
"""

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline_assets.errors import ImportRefused
from resources import git

ENVIRONMENT = ("PATH", "HOME", "XDG_CONFIG_HOME", "TMPDIR")
"""Environment variables passed to git: the user's own git settings lie below HOME."""
_NO_NETWORK = {
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C.UTF-8",
}
_COPIED_SETTINGS = {
    **dict.fromkeys(
        ("core.filemode", "core.symlinks", "core.ignorecase", "core.precomposeunicode"), re.compile("true|false")
    ),
    "core.autocrlf": re.compile("true|false|input"),
    "core.eol": re.compile("lf|crlf|native"),
    "extensions.objectformat": re.compile("sha1|sha256"),
    # As `git lfs install --local` writes them: with these, git recognizes checked-out files as unchanged.
    "filter.lfs.clean": re.compile("git-lfs clean -- %f"),
    "filter.lfs.process": re.compile("git-lfs filter-process(?: --skip)?"),
}
_MAX_REF_BYTES = 4_096
_MAX_LINK_BYTES = 4_096


@dataclass(frozen=True)
class ForeignGit:
    """A repository. root: its files; git_dir: its git folder; scratch: the folder of ours in which git runs."""

    root: Path
    git_dir: Path
    scratch: Path
    is_bare: bool

    def run(self, *words: str, stdin: bytes = b"", index: str = "index") -> bytes:
        """The output of a git command. index: name of the index file to use. Raises CalledProcessError."""
        user_environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        repository_environment = {
            "GIT_DIR": str(self.scratch),
            "GIT_OBJECT_DIRECTORY": str(self.git_dir / "objects"),
            "GIT_INDEX_FILE": str(self.scratch / index),
        } | ({} if self.is_bare else {"GIT_WORK_TREE": str(self.root)})
        folder = self.scratch if self.is_bare else self.root
        return git.run(
            folder,
            "-c",
            "protocol.allow=never",
            *words,
            stdin=stdin,
            env=user_environment | _NO_NETWORK | repository_environment,
        )

    def config(self, name: str) -> str:
        """A setting of the repository (read only as text), else the user's own; empty if there is none."""
        for source in (("--file", str(self.git_dir / "config"), "--no-includes"), ("--global",)):
            try:
                return self.run("config", *source, "--get", name).decode("utf-8", "replace").strip()
            except subprocess.CalledProcessError:
                continue
        return ""


@contextmanager
def reading(root: Path) -> Iterator[ForeignGit]:
    """A repository, for its commits only. Raises ImportRefused if it is none, or if its objects lead elsewhere."""
    git_dir, common_dir = git_dirs(root)
    refuse_links(common_dir / "objects")
    with _temporary_copy(root, git_dir, common_dir, is_bare=True) as repository:
        yield repository


@contextmanager
def comparing(root: Path, git_dir: Path, common_dir: Path) -> Iterator[ForeignGit]:
    """A work tree, to compare with its commit and index. git_dir, common_dir: from `git_dirs`."""
    with _temporary_copy(root, git_dir, common_dir, is_bare=False) as repository:
        for index in (git_dir / "index", *git_dir.glob("sharedindex.*")):
            if _is_file(index):
                shutil.copyfile(index, repository.scratch / index.name)
        yield repository


@contextmanager
def _temporary_copy(root: Path, git_dir: Path, common_dir: Path, *, is_bare: bool) -> Iterator[ForeignGit]:
    with tempfile.TemporaryDirectory(prefix="darkroom-git-") as folder:
        scratch = Path(folder)
        (scratch / "objects").mkdir()
        for name in ("packed-refs", "shallow"):
            _copy_ref(common_dir / name, scratch / name, git.MAX_BYTES)
        _copy_ref(git_dir / "HEAD", scratch / "HEAD", _MAX_REF_BYTES)
        _copy_refs(common_dir / "refs", scratch / "refs")
        repository = ForeignGit(root, common_dir, scratch, is_bare)
        settings = {"core.bare": str(is_bare).lower(), **_copied_settings(common_dir / "config", scratch)}
        settings["core.repositoryformatversion"] = "1" if "extensions.objectformat" in settings else "0"
        (scratch / "config").write_text("".join(map(_line, settings.items())), encoding="utf-8")
        yield repository


def _line(setting: tuple[str, str]) -> str:
    name, value = setting
    section, *inner, key = name.split(".")
    header = f'{section} "{inner[0]}"' if inner else section
    return f"[{header}]\n{key} = {value}\n"


def git_dirs(root: Path) -> tuple[Path, Path]:
    """The git folder of a work tree, or the bare repository itself; and the folder with objects and branches.

    Those of a linked work tree or submodule lie elsewhere, and are trusted only if they name it in return.
    Raises ImportRefused.
    """
    dot = root / ".git"
    if dot.is_symlink():
        raise _leads_elsewhere(dot, dot.resolve())
    if dot.is_dir():
        git_dir = dot
    elif _is_file(dot) and (git_dir_text := _text(dot).removeprefix("gitdir:").strip()):
        git_dir = (root / git_dir_text).resolve()
        if not _names_back(git_dir, root):
            raise _leads_elsewhere(dot, git_dir)
    else:
        git_dir = root
    common_dir = git_dir
    if _is_file(git_dir / "commondir"):
        common_dir = (git_dir / _text(git_dir / "commondir").strip()).resolve()
        if common_dir != git_dir.resolve() and not git_dir.resolve().is_relative_to(common_dir):
            raise _leads_elsewhere(git_dir / "commondir", common_dir)
    if not (_is_file(git_dir / "HEAD") and (common_dir / "objects").is_dir()):
        raise ImportRefused(f"{root} is not the top of a git repository: name its folder, cloned to this machine.")
    return git_dir, common_dir


def refuse_links(folder: Path) -> None:
    """Raise ImportRefused for a folder of objects that is a link, contains one, or names alternates."""
    if _is_file(folder / "info" / "alternates"):
        raise ImportRefused(
            f"{folder} takes objects from another place (info/alternates), which is not followed: run `git repack -a -d` "
            "and delete that file, or name a clone made without --shared and --reference."
        )
    folders = [folder]
    while folders:
        current = folders.pop()
        if current.is_symlink():
            raise ImportRefused(f"{current} is a link, which is not followed: name a clone that has its objects itself.")
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    raise ImportRefused(f"{entry.path} is a link, or no file: name a clone that has its objects itself.")


def _names_back(git_dir: Path, root: Path) -> bool:
    """Whether a git folder names this work tree as its own."""
    if _is_file(git_dir / "gitdir"):  # of a linked work tree
        return (git_dir / _text(git_dir / "gitdir").strip()).resolve() == (root / ".git").resolve()
    if not _is_file(git_dir / "config"):
        return False
    settings = _values(git_dir / "config", git_dir, r"^core\.worktree$")
    return "core.worktree" in settings and (git_dir / settings["core.worktree"]).resolve() == root.resolve()


def _leads_elsewhere(link: Path, to: Path) -> ImportRefused:
    return ImportRefused(f"{link} leads to {to}, which does not name it: if you mean that repository, name that.")


def _copied_settings(config: Path, scratch: Path) -> dict[str, str]:
    if not _is_file(config):
        return {}
    settings = _values(config, scratch, "^(" + "|".join(map(re.escape, _COPIED_SETTINGS)) + ")$")
    return {name: value for name, value in settings.items() if _COPIED_SETTINGS[name].fullmatch(value)}


def _values(config: Path, folder: Path, names: str) -> dict[str, str]:
    """Settings of a file, read by git as text, without its includes."""
    env = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | _NO_NETWORK | {"GIT_DIR": os.devnull}
    try:
        output = git.run(folder, "config", "--file", str(config), "--no-includes", "-z", "--get-regexp", names, env=env)
    except subprocess.CalledProcessError:
        return {}  # there are none
    pairs = (entry.partition("\n") for entry in output.decode("utf-8", "replace").split("\0") if entry)
    return {name: value for name, _, value in pairs}


def _copy_refs(source: Path, target: Path) -> None:
    """Copy branches and tags; skip links and special files."""
    target.mkdir()
    if source.is_symlink() or not source.is_dir():
        return
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _copy_refs(Path(entry.path), target / entry.name)
            else:
                _copy_ref(Path(entry.path), target / entry.name, _MAX_REF_BYTES)


def _copy_ref(source: Path, target: Path, max_bytes: int) -> None:
    if _is_file(source) and source.stat().st_size <= max_bytes:
        shutil.copyfile(source, target)


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return os.fsdecode(file.read(_MAX_LINK_BYTES))
