"""The folder that a data set is checked out into: what Darkroom wrote there, and writing that can't leave it.

    TARGET/.darkroom-checkout/
        lock           held while a checkout is at work
        state.parquet  what is ours: each file with sha256, size, time and inode; what a checkout is about to write
        *.ndjson       the journal that the state names: what a checkout that is at work has written since
        parts/         files that are being written; they take their names when they are whole

Folders are opened one by one from TARGET on, no link followed, so that no path leads out of it. Data files are not synced to
the disk one by one, which would take longer than writing them: after a reboot their times are not trusted, and they are
hashed. The state itself is synced.
"""

import ctypes
import errno
import fcntl
import hashlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from pipeline_assets.errors import CheckoutRefused
from pipeline_assets.versioning.checkout_state import Record
from resources.errors import AlreadyRunning, NoSpace, PathEscapes, is_full

OWN = ".darkroom-checkout"
LOCK, PARTS = "lock", "parts"
THERE = pl.Schema(
    {"path": pl.String, "kind": pl.String, "found_bytes": pl.Int64, "found_ns": pl.Int64, "found_inode": pl.Int64}
)
"""kind: `file`, `folder`, `link`, `other`, or `below` where a part of the path before the last is no folder."""
_RENAMEAT2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
_NOREPLACE = 1
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Target:
    """A folder held for one checkout. Its writes never follow a link, and never replace what is not said to be ours."""

    def __init__(self, folder: Path, root: int, own: int, parts: int) -> None:
        self.folder = folder
        self._root, self._own = root, own
        self.parts = parts
        """The folder of files that are being written, as a descriptor."""
        self._numbers = itertools.count()
        self.record = Record(folder / OWN, folder / OWN / PARTS)

    @classmethod
    @contextmanager
    def held(cls, folder: Path) -> Iterator["Target"]:
        """Make the folder if it is missing, and hold it. Raises AlreadyRunning if another process does, and NoSpace."""
        with _room(folder):
            folder.mkdir(parents=True, exist_ok=True)
            root = os.open(folder.resolve(), _FOLDER)
            opened = [root]
            try:
                try:
                    opened.append(own := _made(root, OWN))
                    opened.append(parts := _made(own, PARTS))
                except NotADirectoryError:
                    raise PathEscapes(f"{folder / OWN} is no folder of ours: remove it, or choose another.") from None
                opened.append(lock := os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644, dir_fd=own))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise AlreadyRunning(f"{folder} is being checked out into already: wait until that is done.") from None
                for name in os.listdir(parts):  # noqa: PTH208  a descriptor, which no path can be swapped under
                    os.unlink(name, dir_fd=parts)
                yield cls(folder, root, own, parts)
            finally:
                for descriptor in reversed(opened):
                    os.close(descriptor)

    @classmethod
    @contextmanager
    def seen(cls, folder: Path) -> Iterator["Target"]:
        """A folder that is only looked at: nothing is made in it, and it is not held."""
        root = os.open(folder.resolve(), _FOLDER)
        try:
            yield cls(folder, root, -1, -1)
        finally:
            os.close(root)

    @property
    def folds_case(self) -> bool:
        """Whether names that differ in case alone are one name here."""
        try:
            os.stat(OWN.upper(), dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    @property
    def free_bytes(self) -> int:
        """Bytes that may still be written here."""
        found = os.fstatvfs(self._root)
        return found.f_bavail * found.f_frsize

    def new_part(self) -> str:
        """A name in `parts` that nothing has."""
        return str(next(self._numbers))

    def new_part_opened(self, mode: int) -> tuple[str, int]:
        """A new file in `parts`: its name, and a descriptor to write it by."""
        name = self.new_part()
        return name, os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=self.parts)

    @property
    def parts_path(self) -> Path:
        """The folder `parts`, for writers that take a path alone."""
        return self.folder / OWN / PARTS

    # What is there

    def look(self, paths: pl.Series) -> pl.DataFrame:
        """Those of these paths that exist (`THERE`)."""
        found: list[tuple[str, str, int | None, int | None, int | None]] = []
        for parent, names in by_parent(paths):
            prefix = f"{parent}/" if parent else ""
            try:
                with self.inside(parent) as folder, os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.name in names:
                            facts = entry.stat(follow_symlinks=False)
                            stamp = facts.st_size, facts.st_mtime_ns, facts.st_ino
                            found.append((prefix + entry.name, _kind(facts.st_mode), *stamp))
            except FileNotFoundError:
                continue
            except PathEscapes:
                found.extend((prefix + name, "below", None, None, None) for name in sorted(names))
        return pl.DataFrame(found, schema=THERE, orient="row")

    def sha256(self, path: str) -> bytes:
        """Of a file that is there."""
        parent, _, name = path.rpartition("/")
        with self.inside(parent) as folder:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    # Writing

    @contextmanager
    def inside(self, parent: str, *, make: bool = False) -> Iterator[int]:
        """A folder below TARGET as a descriptor ('' is TARGET). Raises PathEscapes for a link or a file on the way."""
        here = os.dup(self._root)
        try:
            for part in parent.split("/") if parent else ():
                try:
                    below = _made(here, part) if make else os.open(part, _FOLDER, dir_fd=here)
                except NotADirectoryError:
                    raise PathEscapes(
                        f"{self.folder / parent} is not all folders: {part!r} on the way is a link or a file, which may "
                        "lead elsewhere. Remove it, or choose another folder."
                    ) from None
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)

    def place(self, part: str, folder: int, name: str, *, replace: bool) -> None:
        """Give a file in `parts` its name. Raises CheckoutRefused if the name is taken and not to be replaced."""
        if replace:
            os.rename(part, name, src_dir_fd=self.parts, dst_dir_fd=folder)
            return
        if _renamed(part, self.parts, name, folder):
            return
        try:
            # A link and not a plain rename, which would overwrite what another process has put there meanwhile.
            os.link(part, name, src_dir_fd=self.parts, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise taken(name) from None
        except OSError as error:
            if is_full(error):
                raise
            # Some filesystems know no links.
            if os.access(name, os.F_OK, dir_fd=folder, follow_symlinks=False):
                raise taken(name) from None
            os.rename(part, name, src_dir_fd=self.parts, dst_dir_fd=folder)
            return
        os.unlink(part, dir_fd=self.parts)

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files of ours, and folders that are empty then."""
        emptied: set[str] = set()
        for path in paths:
            parent, _, name = path.rpartition("/")
            with self.inside(parent) as folder:
                os.unlink(name, dir_fd=folder)
            while parent:
                emptied.add(parent)
                parent = parent.rpartition("/")[0]
        for folder_path in sorted(emptied, reverse=True):
            parent, _, name = folder_path.rpartition("/")
            with self.inside(parent) as folder:
                try:
                    os.rmdir(name, dir_fd=folder)
                except OSError:
                    continue  # not empty


def by_parent(paths: pl.Series) -> Iterator[tuple[str, set[str]]]:
    """Paths by the folder that they lie in: each folder with the names in it."""
    parts = pl.DataFrame({"path": paths}).select(
        parent=pl.col("path").str.extract("^(.*)/").fill_null(""), name=pl.col("path").str.extract("([^/]*)$")
    )
    for (parent,), group in parts.group_by("parent", maintain_order=True):
        yield str(parent), set(group["name"])


def taken(name: str) -> CheckoutRefused:
    """Another process has put a file where one of ours was to be."""
    return CheckoutRefused(f"{name} has appeared while this checkout ran: move it away, and check out again.")


def is_of_room(error: Exception) -> bool:
    """Whether an error of polars, which has no number, tells of a full disk."""
    return os.strerror(errno.ENOSPC) in str(error)


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, PolarsError) as error:
        if not (is_full(error) if isinstance(error, OSError) and error.errno else is_of_room(error)):
            raise
        raise NoSpace(
            f"{folder} is full. Free some, or choose another disk, and check out again: "
            "what is there is kept and not fetched again."
        ) from error


def _renamed(part: str, parts: int, name: str, folder: int) -> bool:
    """Rename in one step unless the name is taken (Linux's renameat2); False where the system has no such call.

    Raises CheckoutRefused if the name is taken.
    """
    if _RENAMEAT2 is None:
        return False
    if _RENAMEAT2(parts, os.fsencode(part), folder, os.fsencode(name), _NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        raise taken(name)
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), name)


def _made(folder: int, name: str) -> int:
    """A folder inside another, made if it is missing. Raises NotADirectoryError if the name is a link or a file."""
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        with suppress(FileExistsError):  # another thread was quicker
            os.mkdir(name, 0o777, dir_fd=folder)
        return os.open(name, _FOLDER, dir_fd=folder)


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"
