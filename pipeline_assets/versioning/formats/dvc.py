"""DVC: a pinned set as a `.dvc` file with a filled remote, for stock `dvc pull`. Nothing here needs DVC itself.

DVC names contents by MD5, so all bytes are read once to be named anew. What is read of DVC's is in `dvc_import`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline_assets.errors import ExportRefused
from pipeline_assets.transfer import Digests, md5_of
from pipeline_assets.versioning.contents import Pinned
from pipeline_assets.versioning.formats import dvc_files
from pipeline_assets.versioning.formats.dvc_import import import_
from pipeline_assets.versioning.formats.dvc_remote import Remote, remote_of
from pipeline_assets.versioning.formats.landing import landing, rows_file
from pipeline_assets.versioning.formats.work_tree import WorkTree

__all__ = ["export", "import_"]

IGNORED = "/config.local\n/tmp\n/cache\n"


def export(pinned: Pinned, target: Path, remote: str = "", access: Mapping[str, Any] | None = None) -> int:
    """Write TARGET/NAME.dvc and fill the remote with the set's files, so that `dvc pull` brings them; their number.

    target: the top of a git work tree, or a new or empty folder, which is made one. remote: a folder or s3://bucket/prefix;
    empty: the repository's default remote. access: what `ObjectStore.open` needs for S3, by name; no secret is written
    down. A table's rows come along as ASSET.parquet. Contents come first and the `.dvc` file last; the commit is the user's.
    Raises ExportRefused where there is no remote, or git has NAME as files, or has not the NAME.dvc that lies there.
    """
    access = access or {}
    name, files = pinned.reference.name, pinned.files
    tree = WorkTree.at(target)
    if tree.git("ls-files", "--", name):
        raise ExportRefused(f"git tracks {target / name}, which DVC is to track: `git rm -r --cached {name}` first.")
    chosen = _chosen(tree, remote, access)
    scratch = chosen.folder
    with landing(chosen.open(access), _address, prefix=f"{dvc_files.FILES}/", scratch=scratch) as contents:
        landed = contents.land(pinned, files)
        rows = rows_file(pinned, contents.scratch)
        if rows:
            landed[rows.name] = contents.take(rows)
        listing = dvc_files.directory_json((path, digests.md5) for path, digests in landed.items())
        md5 = md5_of(listing)
        contents.store.put(dvc_files.content_key(md5) + dvc_files.DIRECTORY, listing)
    size = sum(digests.size_bytes for digests in landed.values())
    told = dvc_files.output_yaml(
        name, md5 + dvc_files.DIRECTORY, size, len(landed), "" if chosen.is_default else chosen.name
    )
    _write(tree, chosen, name, told)
    return len(landed)


def _address(digests: Digests) -> str:
    return dvc_files.content_key(digests.md5)


def _chosen(tree: WorkTree, remote: str, access: Mapping[str, Any]) -> Remote:
    chosen = remote_of(dvc_files.Config(tree.root / ".dvc"), remote, access.get("endpoint") or "")
    if chosen is None:
        raise ExportRefused(
            f"{tree.root} has no DVC remote yet, and the bytes must lie somewhere: name a folder or s3://bucket/prefix."
        )
    return chosen


def _write(tree: WorkTree, remote: Remote, name: str, told: str) -> None:
    place = tree.root / f"{name}.dvc"
    tree.refuse_unsaved(place.name, lambda path: path.read_bytes() == told.encode())
    settings = tree.root / ".dvc"
    settings.mkdir(exist_ok=True)
    if not (settings / ".gitignore").exists():
        (settings / ".gitignore").write_text(IGNORED, encoding="utf-8")
    remote.declare(settings / "config")
    tree.add_line(".gitignore", f"/{name}")
    beside = place.with_suffix(".dvc.part")
    beside.write_text(told, encoding="utf-8")
    beside.replace(place)
