"""Nothing that Darkroom reads is unpickled: not by its own code, and not by a library for it."""

import ast
import io
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import torch

from pipeline_assets.classify import looks
from pipeline_assets.errors import ModelUnusable
from pipeline_assets.training.model import weights
from pipeline_assets.variants.tables.frames import read_table

ROOT = Path(__file__).parents[2]
SOURCES = [path for part in ("pipeline_assets", "resources", "sensors") for path in (ROOT / part).rglob("*.py")]
UNPICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}


class Bomb:
    """Unpickling it touches a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def unpickling(source: str) -> list[str]:
    """What a module's code would unpickle with, by line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").partition(".")[0]]
        found += [f"{node.lineno}: import {name}" for name in names if name in UNPICKLERS]
        if isinstance(node, ast.Call) and not is_safe(node):
            found.append(f"{node.lineno}: {ast.unparse(node.func)}")
    return found


def is_safe(call: ast.Call) -> bool:
    """Whether a call of a function that can unpickle is told not to. Any other call is."""
    name = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    match name:
        case "np.load" | "numpy.load" | "np.save" | "np.lib.format.read_array" | "np.lib.format.write_array":
            return given.get("allow_pickle") == "False"
        case "torch.load":
            return given.get("weights_only") == "True"
        case "torch.export.load" | "torch.jit.load" | "torch.hub.load" | "yaml.load" | "yaml.unsafe_load" | "pd.read_pickle":
            return False
    return not name.endswith((".read_pickle", ".default_collate_pickle", ".set_local_extension"))


@pytest.mark.slow
def test_no_module_imports_or_calls_what_unpickles():
    assert len(SOURCES) > 200
    found = {str(path.relative_to(ROOT)): unpickling(path.read_text()) for path in SOURCES}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from cloudpickle import loads", "np.load(x)", "np.load(x, allow_pickle=True)", "torch.load(x)",
     "torch.load(x, weights_only=False)", "torch.export.load(x)", "yaml.load(x, Loader)", "pandas.read_pickle(x)"],
)  # fmt: skip
def test_the_search_for_what_unpickles_finds_it(source):
    assert unpickling(source)


def test_the_one_compiled_network_that_is_loaded_is_of_our_own_folder():
    assert [path.name for path in SOURCES if "load_pt2" in path.read_text()] == ["compiled.py"]


@pytest.mark.slow
def test_every_asset_is_kept_by_the_lake_and_none_by_dagsters_pickles():
    code = (
        "import json; from pipeline_assets.definitions import defs; "
        "kept = {key: type(manager).__name__ for key, manager in defs.resources.items() if 'io_manager' in key}; "
        "assets = [asset for asset in defs.resolve_asset_graph().assets_defs if asset.is_executable]; "
        "asked = {output.io_manager_key for asset in assets for output in asset.node_def.output_defs}; "
        "print(json.dumps([kept, sorted(asked)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    kept, asked = json.loads(done.stdout.splitlines()[-1])
    assert kept == {"io_manager": "LakeIO"}
    assert set(asked) == {"io_manager"}


def test_a_pickle_in_a_head_of_looks_is_refused_unread(tmp_path):
    mark, path = tmp_path / "owned", tmp_path / "looks.npz"
    evil = np.array([Bomb(mark)], dtype=object)
    np.savez(path, weights=evil, bias=evil, told=np.array("{}"))
    with pytest.raises(ModelUnusable):
        looks.load(path)
    path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(ModelUnusable):
        looks.load(path)
    assert not mark.exists()


@pytest.mark.parametrize("save", [pickle.dump, torch.save, lambda bomb, sink: np.save(sink, np.array([bomb], dtype=object))])
def test_a_pickle_as_weights_of_the_popularity_model_is_refused_unread(tmp_path, save):
    mark, buffer = tmp_path / "owned", io.BytesIO()
    save(Bomb(mark), buffer)
    with pytest.raises(ModelUnusable):
        weights.from_bytes(buffer.getvalue())
    assert not mark.exists()


def hostile_table(mark: Path) -> pa.Table:
    """A table whose schema says that a column is of a Python type, as a pickle, and that pandas has pickled names for it."""
    evil = pickle.dumps(Bomb(mark), protocol=0)
    extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": evil}
    pandas = {b"columns": [], b"index_columns": [evil.decode()], b"pickled": evil.decode()}
    told = {b"pandas": json.dumps({key.decode(): value for key, value in pandas.items()}).encode(), b"darkroom": evil}
    field = pa.field("x", pa.int64(), metadata=extension)
    return pa.table({"x": pa.array([1, 2])}, schema=pa.schema([field], metadata=told))


READERS = """
import sys
from pathlib import Path
found = []
sys.addaudithook(lambda event, args: found.append(args) if event == "pickle.find_class" else None)
import polars as pl, pyarrow as pa, pyarrow.parquet as pq, pyarrow.dataset as ds
from pipeline_assets.variants.tables.frames import read_table
from pipeline_assets.versioning.formats import FORMATS
from pipeline_assets.versioning.formats.incoming import Reading
found.clear()
folder = Path(sys.argv[1])
for name in ("parquet", "feather"):
    for path in sorted(folder.glob("*." + name)):
        try:
            list(FORMATS[name].load().batches(path, Reading()))
        except Exception as error:
            print(path, error)
parquet, feather = folder / "a.parquet", folder / "a.feather"
for read in (pl.read_parquet, pl.read_parquet_schema, pl.read_parquet_metadata, pq.read_table, pq.ParquetFile, read_table):
    try:
        read(parquet)
    except Exception as error:
        print(read, error)
for read in (pl.read_ipc, pl.read_ipc_schema, lambda p: pa.ipc.open_file(p).read_all(), lambda p: ds.dataset(p, format="feather").to_table()):
    try:
        read(feather)
    except Exception as error:
        print(read, error)
assert not found, found
"""


@pytest.mark.slow
def test_no_reader_of_arrow_and_parquet_unpickles_what_a_schema_says(tmp_path):
    mark = tmp_path / "owned"
    table = hostile_table(mark)
    pq.write_table(table, tmp_path / "a.parquet")
    pyarrow.feather.write_feather(table, str(tmp_path / "a.feather"))
    done = subprocess.run(
        [sys.executable, "-c", READERS, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert not mark.exists()
    assert read_table(tmp_path / "a.parquet").height == 2
