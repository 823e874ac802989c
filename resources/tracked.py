"""Whether git tracks a path: then it may come from a pull request, and not from this user or Darkroom."""

import os
import shutil
import subprocess
from pathlib import Path

from resources import git

MAX_BYTES = 64 * 1024
"""So many bytes of `git ls-files` are read, for the first name: a repository may track any number of files."""


def tracked_by_git(path: Path) -> str | None:
    """The first tracked file at or below a path, as git names it; None if there is none.

    Links in `path` are not followed. If git is missing or can't read the repository, nothing counts as tracked. No command
    that the repository configures is run.
    """
    path = path.absolute()
    if not any((folder / ".git").exists() for folder in path.parents):
        return None
    if shutil.which("git") is None:
        return None
    options = ("-c", "safe.directory=*", "--literal-pathspecs", "-C", str(path.parent))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"}
    try:
        printed = git.run(Path("/"), *options, "ls-files", "-z", "--", path.name, env=environment, max_bytes=MAX_BYTES)
    except subprocess.CalledProcessError as error:
        printed = error.output
    return os.fsdecode(printed.split(b"\0")[0]) or None


def tracked_link(path: Path) -> Path | None:
    """A symbolic link in a path that git tracks, whose target its author chose; None if there is none."""
    path = path.absolute()
    return next((link for link in (path, *path.parents) if link.is_symlink() and tracked_by_git(link)), None)
