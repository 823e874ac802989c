"""Classifier archives as a stranger would write them: what `torch.export.save` writes, changed in one place."""

import functools
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.classify.tiny_network import TinyNet

PROGRAM = "models/model.json"


def exported(network: torch.nn.Module, side: int = 32, decomposed: bool = False) -> bytes:
    """The bytes of an archive, for any number of photos of this side."""
    example = torch.zeros(2, 3, side, side)
    program = torch.export.export(network.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    buffer = io.BytesIO()
    torch.export.save(program.run_decompositions() if decomposed else program, buffer)
    return buffer.getvalue()


@functools.cache
def tiny() -> bytes:
    return exported(TinyNet(has_embedding=True))


def members(archive: bytes) -> dict[str, bytes]:
    """By name without the root folder."""
    with zipfile.ZipFile(io.BytesIO(archive)) as old:
        return {name.partition("/")[2]: old.read(name) for name in old.namelist()}


def packed(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as new:
        for name, content in parts.items():
            new.writestr(f"model/{name}", content)
    return buffer.getvalue()


def changed(archive: bytes, member: str, change: Callable[[Any], Any]) -> bytes:
    """The archive with one JSON member changed in place, or replaced by what change returns."""
    parts = members(archive)
    content = json.loads(parts[member])
    content = change(content) or content
    return packed(parts | {member: json.dumps(content).encode()})


def renamed(archive: bytes, old: str, new: str) -> bytes:
    """The archive with every JSON string `old` replaced."""
    parts = members(archive)
    for name, content in parts.items():
        if name.endswith(".json"):
            parts[name] = content.replace(json.dumps(old).encode(), json.dumps(new).encode())
    return packed(parts)


def calling(target: str, *inputs: dict[str, Any], weights: dict[str, torch.Tensor] | None = None) -> bytes:
    """A network of one operator with these named arguments, whose result is its logits. `x` names the photos.

    The result is of whatever shape the operator gives.
    """
    parts = members(tiny())
    program = json.loads(parts[PROGRAM])
    graph, signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
    graph["nodes"] = [{"target": target, "inputs": list(inputs), "outputs": [tensor("out")], "metadata": {}}]
    signature["output_specs"] = [{"user_output": {"arg": tensor("out")}}]
    signature["input_specs"] = [spec for spec in signature["input_specs"] if "user_input" in spec]
    config = {}
    for index, (name, value) in enumerate((weights or {}).items()):
        signature["input_specs"].append({"buffer": {"arg": {"name": name}, "buffer_name": name, "persistent": True}})
        config[name] = {"path_name": f"weight_{index}", "is_param": False, "use_pickle": False, "tensor_meta": meta(value)}
        parts[f"data/weights/weight_{index}"] = value.numpy().tobytes()
    parts["data/weights/model_weights_config.json"] = json.dumps({"config": config}).encode()
    return packed(parts | {PROGRAM: json.dumps(program).encode()})


def tensor(name: str) -> dict[str, Any]:
    return {"as_tensor": {"name": name}}


def given(name: str, **argument: Any) -> dict[str, Any]:
    """An argument: `given("dim", as_int=1)`."""
    return {"name": name, "arg": argument, "kind": 1}


def meta(value: torch.Tensor) -> dict[str, Any]:
    dtype = {torch.float32: 7, torch.int64: 5, torch.bool: 12}[value.dtype]
    sizes, strides = ([{"as_int": number} for number in numbers] for numbers in (value.shape, value.stride()))
    return {"dtype": dtype, "sizes": sizes, "strides": strides, "storage_offset": {"as_int": value.storage_offset()}}


def folder(path: Path, archive: bytes, classes: int = 3, side: int = 32) -> Path:
    """A classifier's folder, as `load_classifier` reads one."""
    path.mkdir(exist_ok=True)
    (path / "model.pt2").write_bytes(archive)
    (path / "classes.csv").write_text("index,name\n" + "".join(f"{n},class {n}\n" for n in range(classes)))
    (path / "preprocessing.json").write_text(json.dumps({"resize_short_px": side + 8, "crop_px": side}))
    return path
