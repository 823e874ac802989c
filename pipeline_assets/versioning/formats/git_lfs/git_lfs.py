"""git-lfs: exports a pinned set as pointers and objects of a git work tree, and imports a repository's pointers.

An object's id is its sha256, as in Darkroom. `git lfs` itself is not needed.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from pipeline_assets.errors import ExportRefused, ImportRefused
from pipeline_assets.runtime.transfer import Digests
from pipeline_assets.versioning.formats.git_lfs.pointer import EMPTY_OID, MAX_BYTES, Pointer
from pipeline_assets.versioning.formats.intake import Intake, local_contents, paths_below, refuse_missing
from pipeline_assets.versioning.formats.landing import landing, rows_file
from pipeline_assets.versioning.formats.work_tree import WorkTree
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.pins import PinnedFolder
from resources.objects.store import ObjectStore

GITS_OWN = frozenset({".git", ".gitattributes", ".gitignore", ".gitmodules"})
"""Names that git interprets in any folder: a pointer there would be read as rules."""


def object_key(oid: str) -> str:
    """The path of an object below `lfs/objects`."""
    return f"{oid[:2]}/{oid[2:4]}/{oid}"


def export(pinned: Pinned, target: Path) -> int:
    """Write the set as pointers in TARGET/NAME, with its objects in the store of `git lfs`; the number of files.

    target: the top of a work tree, or a new or empty folder, which becomes one. A table's rows are included as
    ASSET.parquet. TARGET/NAME is replaced if git has its content, else ExportRefused is raised. Objects are written first,
    then all pointers at once; the user commits.
    """
    name, files = pinned.reference.name, pinned.files
    for path in files["path"]:
        if GITS_OWN & {part.lower() for part in path.split("/")}:
            raise ExportRefused(f"{path} has a name reserved by git: a git repository can't hold it as data.")
    with WorkTree.at(target) as tree:
        tree.refuse_unsaved(name, lambda path: Pointer.is_in(path))
        tree.refuse_links(".gitattributes")
        return _export_into(tree, pinned)


def _export_into(tree: WorkTree, pinned: Pinned) -> int:
    name, files = pinned.reference.name, pinned.files
    storage = _storage(tree)
    for folder in (storage, storage / "objects", storage / "tmp"):
        if not folder.resolve().is_relative_to(tree.git_dir.resolve()):
            raise ExportRefused(
                f"{folder} leads out of {tree.git_dir}: `git config --unset lfs.storage`, or remove the link, then export."
            )
    store = ObjectStore.open((storage / "objects").as_uri())
    with landing(store, lambda digests: object_key(digests.sha256), scratch=storage / "tmp") as lfs:
        lfs.land(pinned, files.filter([not _is_there(storage, *row) for row in files.select("sha256", "size_bytes").rows()]))
        pointers = {
            path: Pointer(sha256.hex(), size) for path, sha256, size in files.select("path", "sha256", "size_bytes").rows()
        }
        rows = rows_file(pinned, lfs.scratch)
        if rows:
            digests = lfs.take(rows)
            pointers[rows.name] = Pointer(digests.sha256, digests.size_bytes)
        _write_pointers(tree, name, pointers, lfs.scratch)
    tree.add_line(".gitattributes", f"/{name}/** filter=lfs diff=lfs merge=lfs -text")
    return len(pointers)


def _is_there(storage: Path, sha256: bytes, size_bytes: int) -> bool:
    # An empty file's pointer is the empty file, without an object.
    path = storage / "objects" / object_key(sha256.hex())
    return size_bytes == 0 or (path.is_file() and path.stat().st_size == size_bytes)


def _write_pointers(tree: WorkTree, name: str, pointers: dict[str, Pointer], scratch: Path) -> None:
    new_folder, old_folder, place = scratch / "made", scratch / "before", tree.root / name
    for path, pointer in pointers.items():
        pointer_path = new_folder / path
        pointer_path.parent.mkdir(parents=True, exist_ok=True)
        pointer_path.write_bytes(pointer.dumps())
    new_folder.mkdir(exist_ok=True)
    if place.exists():
        place.rename(old_folder)
    new_folder.rename(place)
    shutil.rmtree(old_folder, ignore_errors=True)


def import_(
    source: Path, objects: ObjectStore, previous: pl.DataFrame, *, revision: str = "HEAD", folder: str = ""
) -> PinnedFolder:
    """Store the objects that an LFS repository's pointers name; files that are no pointers are ignored.

    source: a work tree or a bare repository. folder: only files below it, with paths relative to it. previous: a manifest
    whose contents are not read again. Each object is read once and verified.
    Raises ImportRefused for a broken pointer, an unsafe path, and objects that are missing or damaged.
    """
    with WorkTree.reading(source) as tree:
        pointers = dict(_pointers(tree, revision))
        root = _storage(tree) / "objects"
    names = paths_below(pointers, folder, f"{revision} of {source}")
    path_by_oid = {pointers[path].oid: path for path in names if pointers[path].size_bytes}
    intake = Intake(objects, previous)
    keys = {object_key(oid): oid for oid in path_by_oid if not intake.has(oid)}
    for key, digests, content in local_contents(root, list(keys), lambda sha256, data: Digests(sha256.hex(), "", len(data))):
        pointer = pointers[path_by_oid[keys.pop(key)]]
        if (digests.sha256, digests.size_bytes) != (pointer.oid, pointer.size_bytes):
            raise ImportRefused(
                f"{path_by_oid[pointer.oid]} is damaged: the bytes of {root / key} do not match its name. Delete it and "
                f"run `git lfs fetch` in {source}."
            )
        intake.take(digests, content)
    missing_oids = set(keys.values())
    refuse_missing(
        [path for path in names if pointers[path].oid in missing_oids],
        len(names),
        f"Run `git lfs fetch origin {revision}` in {source} first.",
    )
    if any(not pointers[path].size_bytes for path in names) and not intake.has(EMPTY_OID):
        intake.take(Digests(EMPTY_OID, "", 0), b"")
    return intake.close((name, pointers[path].oid, pointers[path].size_bytes) for path, name in names.items())


def _storage(tree: WorkTree) -> Path:
    """The folder of `objects`: `.git/lfs`, or the one of `lfs.storage`."""
    return tree.git_dir / (tree.config("lfs.storage") or "lfs")


def _pointers(tree: WorkTree, revision: str) -> Iterator[tuple[str, Pointer]]:
    """The paths of a revision whose blobs are pointers. Raises ImportRefused for no revision or a broken pointer."""
    blobs: dict[str, str] = {}
    for line in tree.list_blobs(revision):
        facts, _, path = line.partition(b"\t")
        mode, kind, blob, size = facts.split()
        if kind == b"blob" and mode != b"120000" and int(size) < MAX_BYTES:
            blobs[os.fsdecode(path)] = blob.decode()
    contents = tree.blobs(set(blobs.values()))
    # An empty file may be a pointer: its attributes decide.
    empty = tree.filtered_by("lfs", revision, [path for path, blob in blobs.items() if not contents[blob]])
    for name, blob_id in blobs.items():
        pointer = Pointer.loads(contents[blob_id], name) if contents[blob_id] or name in empty else None
        if pointer:
            yield name, pointer
