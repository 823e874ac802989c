"""git-lfs: a pinned set as pointers and objects of a git work tree, and a repository's pointers as a data set.

An object's id is its sha256, which is also our name for it: nothing is renamed. Nothing here needs `git lfs` itself.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from pipeline_assets.errors import ExportRefused, ImportRefused
from pipeline_assets.transfer import Digests
from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.formats.intake import Intake, below, local_contents, refuse_missing
from pipeline_assets.versioning.formats.landing import landing, rows_file
from pipeline_assets.versioning.formats.lfs_pointer import EMPTY_OID, MAX_BYTES, Pointer
from pipeline_assets.versioning.formats.work_tree import WorkTree
from pipeline_assets.versioning.pins import PinnedFolder
from resources.object_store import ObjectStore

GITS_OWN = frozenset({".git", ".gitattributes", ".gitignore", ".gitmodules"})
"""Names that mean something to git wherever they lie: a pointer there would be read as rules."""


def object_key(oid: str) -> str:
    """Where an object lies below `lfs/objects`."""
    return f"{oid[:2]}/{oid[2:4]}/{oid}"


def export(pinned: Pinned, target: Path) -> int:
    """Write the set as pointers in TARGET/NAME, with its objects where `git lfs` looks; the number of files.

    target: the top of a work tree, or a new or empty folder, which is made one. A table's rows come along as ASSET.parquet.
    What lies in TARGET/NAME is replaced if git has it, else ExportRefused is raised. Objects come first, pointers after
    them in one go, and the commit is the user's.
    """
    name, files = pinned.reference.name, pinned.files
    for path in files["path"]:
        if GITS_OWN & {part.lower() for part in path.split("/")}:
            raise ExportRefused(f"{path} has a name that git takes for its own: a git repository can't hold it as data.")
    tree = WorkTree.at(target)
    tree.refuse_unsaved(name, lambda path: Pointer.is_in(path))
    storage = _storage(tree)
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
    # An empty file's pointer is the empty file, and git lfs keeps no object for it.
    path = storage / "objects" / object_key(sha256.hex())
    return size_bytes == 0 or (path.is_file() and path.stat().st_size == size_bytes)


def _write_pointers(tree: WorkTree, name: str, pointers: dict[str, Pointer], scratch: Path) -> None:
    made, before, place = scratch / "made", scratch / "before", tree.root / name
    for path, pointer in pointers.items():
        beside = made / path
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(pointer.dumps())
    made.mkdir(exist_ok=True)
    if place.exists():
        place.rename(before)
    made.rename(place)
    shutil.rmtree(before, ignore_errors=True)


def import_(
    source: Path, objects: ObjectStore, before: pl.DataFrame, *, revision: str = "HEAD", folder: str = ""
) -> PinnedFolder:
    """Bring what an LFS repository's pointers name into the store; files that are no pointers are not data and are left.

    source: a work tree or a bare repository. folder: only what lies below it, without it in the paths. before: the
    manifest whose contents need no reading. Each object is read once, and its hash held against its name.
    Raises ImportRefused for a broken pointer, an unsafe path, and objects that are missing or damaged.
    """
    tree = WorkTree.reading(source)
    pointers = dict(_pointers(tree, revision))
    names = below(pointers, folder, f"{revision} of {source}")
    wanted = {pointers[path].oid: path for path in names if pointers[path].size_bytes}
    root = _storage(tree) / "objects"
    intake = Intake(objects, before)
    keys = {object_key(oid): oid for oid in wanted if not intake.has(oid)}
    for key, digests, content in local_contents(root, list(keys), lambda sha256, data: Digests(sha256.hex(), "", len(data))):
        pointer = pointers[wanted[keys.pop(key)]]
        if (digests.sha256, digests.size_bytes) != (pointer.oid, pointer.size_bytes):
            raise ImportRefused(
                f"{wanted[pointer.oid]} is damaged: {root / key} holds other bytes than its name says. Delete it and run "
                f"`git lfs fetch` in {source}."
            )
        intake.take(digests, content)
    lost = set(keys.values())
    refuse_missing(
        [path for path in names if pointers[path].oid in lost],
        len(names),
        f"Run `git lfs fetch origin {revision}` in {source} first.",
    )
    if any(not pointers[path].size_bytes for path in names) and not intake.has(EMPTY_OID):
        intake.take(Digests(EMPTY_OID, "", 0), b"")
    return intake.close((name, pointers[path].oid, pointers[path].size_bytes) for path, name in names.items())


def _storage(tree: WorkTree) -> Path:
    """The folder of `objects`: `.git/lfs`, unless `lfs.storage` names another."""
    return tree.git_dir / (tree.config("lfs.storage") or "lfs")


def _pointers(tree: WorkTree, revision: str) -> Iterator[tuple[str, Pointer]]:
    """The paths of a revision whose blobs are pointers. Raises ImportRefused for no revision or a broken pointer."""
    blobs: dict[str, str] = {}
    for line in tree.listed(revision):
        facts, _, path = line.partition(b"\t")
        mode, kind, blob, size = facts.split()
        if kind == b"blob" and mode != b"120000" and int(size) < MAX_BYTES:
            blobs[os.fsdecode(path)] = blob.decode()
    contents = tree.blobs(set(blobs.values()))
    # An empty file has no text to be known by: what the attributes say of it decides.
    empty = tree.filtered_by("lfs", revision, [path for path, blob in blobs.items() if not contents[blob]])
    for name, named in blobs.items():
        pointer = Pointer.loads(contents[named], name) if contents[named] or name in empty else None
        if pointer:
            yield name, pointer
