"""Formats of other tools, by name. Each is a module of its own, loaded when it is asked for.

A file format's module has two functions:

    export(pinned: Pinned, target: Target, asked: Asked, tell) -> Exported     writes a data set into an empty folder
    batches(source: Path, asked: Reading) -> Iterator[Batch | Rejected]        reads one, whoever wrote it

That of a repository of another tool, whose files keep their contents and names, has `export` and `import_`.
"""

import importlib
from dataclasses import dataclass
from typing import Any

_HERE = "pipeline_assets.versioning.formats"


@dataclass(frozen=True)
class Format:
    """Where a format's code is. about: what is written, in a few words. with_bytes: whether a table's files go along."""

    module: str
    about: str
    with_bytes: bool = True

    def load(self) -> Any:
        """The module."""
        return importlib.import_module(self.module)


FORMATS: dict[str, Format] = {
    "parquet": Format(f"{_HERE}.parquet", "NAME-00000.parquet: columns as they are", with_bytes=False),
    "feather": Format(f"{_HERE}.feather", "NAME-00000.feather: Arrow IPC files, memory-mappable", with_bytes=False),
    "hdf5": Format(f"{_HERE}.hdf5", "NAME-00000.h5: a dataset a column, null masks beside them"),
    "tfrecord": Format(f"{_HERE}.tfrecord", "NAME-00000.tfrecord: one tf.train.Example a row"),
    "webdataset": Format(f"{_HERE}.webdataset", "NAME-000000.tar: key.jpg and key.json a row"),
    "coco": Format(f"{_HERE}.coco", "images/ and annotations.json: classes as annotations, titles as captions"),
}
REPOSITORIES: dict[str, Format] = {
    "git-lfs": Format(f"{_HERE}.git_lfs", "NAME/ as pointers in the git work tree TARGET, objects for `git lfs`"),
    "dvc": Format(f"{_HERE}.dvc", "NAME.dvc in the git work tree TARGET, a remote for `dvc pull`"),
}
"""Together with FORMATS, what `darkroom export --format` and `darkroom import --format` know."""
