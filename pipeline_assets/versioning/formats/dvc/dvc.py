"""Exports a pinned set as a `.dvc` file with a filled remote, for stock `dvc pull`. DVC itself is not needed.

DVC names contents by MD5, so all bytes are read once. `importing.py` reads DVC repositories.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline_assets.errors import ExportRefused
from pipeline_assets.runtime.transfer import Digests, md5_of
from pipeline_assets.versioning.formats.dvc import dvc_files
from pipeline_assets.versioning.formats.dvc.importing import import_
from pipeline_assets.versioning.formats.dvc.remote import Remote, remote_of
from pipeline_assets.versioning.formats.landing import landing, rows_file
from pipeline_assets.versioning.formats.work_tree import WorkTree
from pipeline_assets.versioning.pin.contents import Pinned

__all__ = ["export", "import_"]

IGNORED = "/config.local\n/tmp\n/cache\n"


def export(
    pinned: Pinned,
    target: Path,
    remote: str = "",
    access: Mapping[str, Any] | None = None,
    endpoint: str | None = None,
) -> int:
    """Write TARGET/NAME.dvc and fill the remote with the set's files, for `dvc pull`; the number of files.

    target: the top of a git work tree, or a new or empty folder, which becomes one. remote: a folder or s3://bucket/prefix;
    empty for the repository's default remote. access: arguments of `ObjectStore.open` for S3; no secret is stored.
    endpoint: as for `remote_of`. A table's rows are included as ASSET.parquet. Contents are written first and the `.dvc`
    file last; the user commits.
    Raises ExportRefused if there is no remote, if git tracks files below NAME, or if NAME.dvc has uncommitted changes.
    """
    access = access or {}
    with WorkTree.at(target) as tree:
        return _export_into(tree, pinned, remote, access, endpoint)


def _export_into(tree: WorkTree, pinned: Pinned, remote: str, access: Mapping[str, Any], endpoint: str | None) -> int:
    name, files = pinned.reference.name, pinned.files
    if tree.has(name):
        raise ExportRefused(f"git tracks {tree.root / name}, which DVC should track: `git rm -r --cached {name}` first.")
    tree.refuse_links(".gitignore", ".dvc/config", ".dvc/config.local", ".dvc/.gitignore", f"{name}.dvc", f"{name}.dvc.part")
    chosen = _remote_for(tree, remote, access, endpoint)
    scratch = chosen.folder
    with landing(chosen.open(access), _address, prefix=f"{dvc_files.FILES}/", scratch=scratch) as contents:
        digests_by_path = contents.land(pinned, files)
        rows = rows_file(pinned, contents.scratch)
        if rows:
            digests_by_path[rows.name] = contents.take(rows)
        listing = dvc_files.directory_json((path, digests.md5) for path, digests in digests_by_path.items())
        md5 = md5_of(listing)
        contents.store.put(dvc_files.content_key(md5) + dvc_files.DIRECTORY, listing)
    size = sum(digests.size_bytes for digests in digests_by_path.values())
    yaml_text = dvc_files.output_yaml(
        name, md5 + dvc_files.DIRECTORY, size, len(digests_by_path), "" if chosen.is_default else chosen.name
    )
    _write(tree, chosen, name, yaml_text)
    return len(digests_by_path)


def _address(digests: Digests) -> str:
    return dvc_files.content_key(digests.md5)


def _remote_for(tree: WorkTree, remote: str, access: Mapping[str, Any], endpoint: str | None) -> Remote:
    chosen = remote_of(dvc_files.Config(tree.root / ".dvc"), remote, access.get("endpoint") or "", endpoint)
    if chosen is None:
        raise ExportRefused(f"{tree.root} has no DVC remote for the bytes: name a folder or s3://bucket/prefix.")
    return chosen


def _write(tree: WorkTree, remote: Remote, name: str, yaml_text: str) -> None:
    place = tree.root / f"{name}.dvc"
    tree.refuse_unsaved(place.name, lambda path: path.read_bytes() == yaml_text.encode())
    settings = tree.root / ".dvc"
    settings.mkdir(exist_ok=True)
    if not (settings / ".gitignore").exists():
        (settings / ".gitignore").write_text(IGNORED, encoding="utf-8")
    remote.declare(settings / "config")
    tree.add_line(".gitignore", f"/{name}")
    partial_path = place.with_suffix(".dvc.part")
    partial_path.write_text(yaml_text, encoding="utf-8")
    partial_path.replace(place)
