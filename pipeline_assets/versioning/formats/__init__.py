"""Formats of other tools, by name. Each is a module of its own, loaded on first use.

A file format's module has two functions:

    export(pinned: Pinned, target: Target, options: ExportOptions, tell) -> Exported    writes into an empty folder
    batches(source: Path, reading: Reading) -> Iterator[Batch | Rejected]               reads, whoever wrote it

The module of another tool's repository format, whose files keep their contents and names, has `export` and `import_`.
"""

import importlib
from dataclasses import dataclass
from typing import Any

_HERE = "pipeline_assets.versioning.formats"


@dataclass(frozen=True)
class Format:
    """A format's module. about: what it writes, in a few words. with_bytes: whether a table's files are included."""

    module: str
    about: str
    with_bytes: bool = True

    def load(self) -> Any:
        """The module."""
        return importlib.import_module(self.module)


FORMATS: dict[str, Format] = {
    "parquet": Format(f"{_HERE}.parquet", "NAME-00000.parquet: unchanged columns", with_bytes=False),
    "feather": Format(f"{_HERE}.feather", "NAME-00000.feather: Arrow IPC files, memory-mappable", with_bytes=False),
    "hdf5": Format(f"{_HERE}.hdf5.format", "NAME-00000.h5: one dataset per column, with null masks"),
    "tfrecord": Format(f"{_HERE}.tfrecord.format", "NAME-00000.tfrecord: one tf.train.Example per row"),
    "webdataset": Format(f"{_HERE}.webdataset.format", "NAME-000000.tar: key.jpg and key.json per row"),
    "coco": Format(f"{_HERE}.coco.format", "images/ and annotations.json: classes as annotations, titles as captions"),
}
REPOSITORIES: dict[str, Format] = {
    "git-lfs": Format(f"{_HERE}.git_lfs.git_lfs", "NAME/ as pointers in the git work tree TARGET, objects for `git lfs`"),
    "dvc": Format(f"{_HERE}.dvc.dvc", "NAME.dvc in the git work tree TARGET, a remote for `dvc pull`"),
}
"""Repository formats: with FORMATS, the choices of `darkroom export --format` and `darkroom import --format`."""
