"""The target folder of a checkout: the record of written files, and writes that can't leave the folder.

    TARGET/.darkroom-checkout/
        lock           locked while a checkout runs
        state          our files: each with sha256, size, time and inode, and those about to be written. Sealed
        *.ndjson       the journal that the state names: files written since
        parts/         files being written; they are renamed when complete
        .gitignore     git leaves the folder alone

Folders are opened one by one from TARGET on, without following links or `..`, so that no path leads out of it. Data files
are not synced to disk, which would take longer than writing them: after a reboot their times are not trusted, and they are
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
from pipeline_assets.versioning.checkout.state import Record
from pipeline_assets.versioning.pin.condition import is_disk_full
from resources.errors import AlreadyRunning, NoSpace, PathEscapes, is_full
from resources.tracked import tracked_link

OWN = ".darkroom-checkout"
LOCK, PARTS = "lock", "parts"
EXISTING_SCHEMA = pl.Schema(
    {"path": pl.String, "kind": pl.String, "found_bytes": pl.Int64, "found_ns": pl.Int64, "found_inode": pl.Int64}
)
"""kind: `file`, `folder`, `link`, `other`, or `below` if a parent of the path is no folder."""
_RENAMEAT2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
_NOREPLACE = 1
_INVALID_NAMES = frozenset({"", ".", ".."})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Target:
    """A folder locked for one checkout. Writes never follow links, and replace files only when told to."""

    def __init__(self, folder: Path, root: int, own_folder: int, parts: int, secret: bytes) -> None:
        self.folder = folder
        self._root = root
        self.parts = parts
        """The folder of unfinished files, as a descriptor."""
        self._numbers = itertools.count()
        self.record = Record(folder / OWN, own_folder, parts, secret)

    @classmethod
    @contextmanager
    def held(cls, folder: Path, secret: bytes) -> Iterator["Target"]:
        """Create the folder if missing, and lock it. Raises AlreadyRunning if another process has the lock, and NoSpace.

        secret: seals the record of our files. Raises PathEscapes for a folder behind a link that git tracks.
        """
        _refuse_tracked_links(folder)
        with _full_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            root = os.open(folder.resolve(), _FOLDER)
            descriptors = [root]
            try:
                with _folder_errors(folder):
                    descriptors.append(own_folder := _open_folder(root, OWN))
                    descriptors.append(parts := _open_folder(own_folder, PARTS))
                    descriptors.append(
                        lock := os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644, dir_fd=own_folder)
                    )
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise AlreadyRunning(f"{folder} is being checked out into already: wait until that is done.") from None
                with _folder_errors(folder):
                    for name in os.listdir(parts):  # noqa: PTH208  a descriptor, which no path can be swapped under
                        os.unlink(name, dir_fd=parts)
                    _write_gitignore(own_folder)
                yield cls(folder, root, own_folder, parts, secret)
            finally:
                for descriptor in reversed(descriptors):
                    os.close(descriptor)

    @classmethod
    @contextmanager
    def seen(cls, folder: Path, secret: bytes) -> Iterator["Target"]:
        """The folder for reading only: nothing is created or locked. Raises PathEscapes as `held`."""
        _refuse_tracked_links(folder)
        root, own_folder = os.open(folder.resolve(), _FOLDER), -1
        try:
            with suppress(FileNotFoundError), _folder_errors(folder):
                own_folder = os.open(OWN, _FOLDER, dir_fd=root)
            yield cls(folder, root, own_folder, -1, secret)
        finally:
            for descriptor in {root, own_folder} - {-1}:
                os.close(descriptor)

    @property
    def folds_case(self) -> bool:
        """Whether the filesystem ignores case."""
        try:
            os.stat(OWN.upper(), dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    @property
    def free_bytes(self) -> int:
        """Free space of the filesystem, in bytes."""
        filesystem = os.fstatvfs(self._root)
        return filesystem.f_bavail * filesystem.f_frsize

    def new_part(self) -> str:
        """An unused name in `parts`."""
        return str(next(self._numbers))

    def new_part_opened(self, mode: int) -> tuple[str, int]:
        """A new file in `parts`: its name, and a descriptor for writing."""
        name = self.new_part()
        return name, os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=self.parts)

    @property
    def parts_path(self) -> Path:
        """The folder `parts`, for writers that need a path."""
        return self.folder / OWN / PARTS

    def look(self, paths: pl.Series) -> pl.DataFrame:
        """Those of these paths that exist (`EXISTING_SCHEMA`)."""
        entries_found: list[tuple[str, str, int | None, int | None, int | None]] = []
        for parent, names in by_parent(paths):
            prefix = f"{parent}/" if parent else ""
            try:
                with self.inside(parent) as folder, os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.name in names:
                            facts = entry.stat(follow_symlinks=False)
                            stamp = facts.st_size, facts.st_mtime_ns, facts.st_ino
                            entries_found.append((prefix + entry.name, _kind(facts.st_mode), *stamp))
            except FileNotFoundError:
                continue
            except PathEscapes:
                entries_found.extend((prefix + name, "below", None, None, None) for name in sorted(names))
        return pl.DataFrame(entries_found, schema=EXISTING_SCHEMA, orient="row")

    def sha256(self, path: str) -> bytes:
        """The sha256 of an existing file."""
        parent, name = split_path(path)
        with self.inside(parent) as folder:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    # Writing

    @contextmanager
    def inside(self, parent: str, *, make: bool = False) -> Iterator[int]:
        """A folder below TARGET as a descriptor ('' is TARGET).

        Raises PathEscapes for a link or a file among its parents, and for a path that leads out of TARGET.
        """
        current = os.dup(self._root)
        try:
            for part in parent.split("/") if parent else ():
                if part in _INVALID_NAMES:
                    raise _escapes(parent)
                try:
                    child = _open_folder(current, part) if make else os.open(part, _FOLDER, dir_fd=current)
                except NotADirectoryError:
                    raise PathEscapes(
                        f"{self.folder / parent} is not all folders: {part!r} on the way is a link or a file, which may "
                        "lead elsewhere. Remove it, or choose another folder."
                    ) from None
                os.close(current)
                current = child
            yield current
        finally:
            os.close(current)

    def place(self, part: str, folder: int, name: str, *, replace: bool) -> None:
        """Move a file from `parts` to its name. Raises CheckoutRefused if the name is taken and `replace` is false."""
        if replace:
            os.rename(part, name, src_dir_fd=self.parts, dst_dir_fd=folder)
            return
        if _rename_exclusive(part, self.parts, name, folder):
            return
        try:
            # A link, since a plain rename would overwrite a file that another process just put there.
            os.link(part, name, src_dir_fd=self.parts, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise name_taken(name) from None
        except OSError as error:
            if is_full(error):
                raise
            # Some filesystems have no links.
            if os.access(name, os.F_OK, dir_fd=folder, follow_symlinks=False):
                raise name_taken(name) from None
            os.rename(part, name, src_dir_fd=self.parts, dst_dir_fd=folder)
            return
        os.unlink(part, dir_fd=self.parts)

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files of ours, and folders that become empty."""
        emptied: set[str] = set()
        for path in paths:
            parent, name = split_path(path)
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


def split_path(path: str) -> tuple[str, str]:
    """The folder of a path below TARGET, and the name in it. Raises PathEscapes for an invalid name."""
    parent, _, name = path.rpartition("/")
    if name in _INVALID_NAMES or path.startswith("/"):
        raise _escapes(path)
    return parent, name


def by_parent(paths: pl.Series) -> Iterator[tuple[str, set[str]]]:
    """Paths grouped by folder: each folder with the names in it."""
    parts = pl.DataFrame({"path": paths}).select(
        parent=pl.col("path").str.extract("^(.*)/").fill_null(""), name=pl.col("path").str.extract("([^/]*)$")
    )
    for (parent,), group in parts.group_by("parent", maintain_order=True):
        yield str(parent), set(group["name"])


def name_taken(name: str) -> CheckoutRefused:
    """The error for a file that another process put at a path of ours."""
    return CheckoutRefused(f"{name} has appeared while this checkout ran: move it away, and check out again.")


def _escapes(path: str) -> PathEscapes:
    return PathEscapes(f"{path[:200]!r} leads out of the target folder. Nothing was written there.")


def _refuse_tracked_links(folder: Path) -> None:
    """Raise PathEscapes for a link that git tracks: its author chose where it leads, not its user."""
    if link := tracked_link(folder):
        raise PathEscapes(
            f"{link} is a link that git tracks, and leads to {link.resolve()}. If that is where you want the files, name it "
            "instead."
        )


@contextmanager
def _folder_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
            raise
        raise PathEscapes(f"{folder / OWN} is no folder of ours: remove it, or choose another.") from None


def _write_gitignore(own_folder: int) -> None:
    descriptor = os.open(".gitignore", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644, dir_fd=own_folder)
    with os.fdopen(descriptor, "w") as file:
        file.write("*\n")


@contextmanager
def _full_disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, PolarsError) as error:
        if not (is_full(error) if isinstance(error, OSError) and error.errno else is_disk_full(error)):
            raise
        raise NoSpace(
            f"{folder} is full. Free some, or choose another disk, and check out again: "
            "what is there is kept and not fetched again."
        ) from error


def _rename_exclusive(part: str, parts: int, name: str, folder: int) -> bool:
    """Rename unless the name is taken, in one step (Linux's renameat2); False where the system has no such call.

    Raises CheckoutRefused if the name is taken.
    """
    if _RENAMEAT2 is None:
        return False
    if _RENAMEAT2(parts, os.fsencode(part), folder, os.fsencode(name), _NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        raise name_taken(name)
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), name)


def _open_folder(folder: int, name: str) -> int:
    """A folder inside another, created if missing. Raises NotADirectoryError if the name is a link or a file."""
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
