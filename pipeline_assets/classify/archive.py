"""Load a user's `torch.export` archive without running anything that hides in it.

`torch.export.load` is made for trusted files: it unpickles sample inputs, pickled weights and custom objects, it
evaluates shape expressions as Python, and it resolves any name under `torch`. Here the archive is first reduced
to what a plain network needs (graph JSON, raw weights), each part checked against a list of what is allowed;
all else is left out or refused, and torch sees only the rebuilt copy. Tried with torch 2.13.
"""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from pipeline_assets.errors import ModelUnusable

MAX_ARCHIVE_BYTES = 4 << 30
_EXPORT_ANEW = "save the network anew with torch.export.save(torch.export.export(net.eval(), ...), 'model.pt2')"

# Members by meaning; sample inputs are replaced by nothing, for they are a pickle and not needed.
_KEPT = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|models/model\.json"
    r"|data/(weights|constants)/(weight_\d+|tensor_\d+|model_(weights|constants)_config\.json)"
)
_DROPPED = re.compile(r"data/sample_inputs/model\.pt|\.format_version|\.storage_alignment|extra/.*")

_OPERATORS = "add|sub|mul|truediv|floordiv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem|pos"
_TARGET = re.compile(
    rf"torch\.ops\.aten\.(?!from_file\b)\w+\.\w+|_operator\.({_OPERATORS})"
    r"|torch\.sym_(max|min|int|float|not|sum|sqrt)|math\.(ceil|floor|trunc)"
)
# What sympy would evaluate: symbols, whole numbers, arithmetic, and no other name or string.
_EXPRESSION = re.compile(
    r"(?:Symbol\('[a-z]+\d+'(?:, (?:positive|integer|nonnegative)=True)*\)"
    r"|\b(?:Max|Min|Mod|PythonMod|FloorDiv|CeilToInt|Integer|Eq|Ne|Lt|Le|Gt|Ge)\b(?=\()"
    r"|\b[sui]\d+\b|\b\d+\b|[-+*/%(), <>=])+"
)


def load_archive(path: Path) -> Any:
    """Read a `.pt2` as a `torch.export.ExportedProgram` whose graph calls aten operators alone.

    Raises ModelUnusable if the file is no such archive, is too large, or holds pickled objects, custom operators,
    compiled code, or anything else that could run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            clean = _rebuild(_members(archive, path), path)
    except (zipfile.BadZipFile, OSError, KeyError, ValueError, RecursionError, NotImplementedError, EOFError) as error:
        raise ModelUnusable(f"{path} is not a torch.export archive ({error!s:.200}): {_EXPORT_ANEW}") from error
    import torch

    try:
        return torch.export.load(clean)
    except Exception as error:
        raise ModelUnusable(
            f"{path} can't be loaded by torch {torch.__version__} ({error!s:.300}): {_EXPORT_ANEW}"
        ) from error


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    """The archive's parts by name without the root folder, those that are allowed; refuses all unknown."""
    if sum(info.file_size for info in archive.infolist()) > MAX_ARCHIVE_BYTES:
        raise ModelUnusable(f"{path} unpacks to more than {MAX_ARCHIVE_BYTES >> 30} GiB")
    members: dict[str, bytes] = {}
    for info in archive.infolist():
        name = info.filename.partition("/")[2]
        if name in members:
            raise ModelUnusable(f"{path} holds {name} twice: {_EXPORT_ANEW}")
        if _KEPT.fullmatch(name):
            members[name] = archive.read(info)
        elif not _DROPPED.fullmatch(name):
            raise ModelUnusable(f"{path} holds {name!r:.100}, which is refused unread. {_EXPORT_ANEW}")
    if members.get("archive_format") != b"pt2" or "models/model.json" not in members:
        raise ModelUnusable(f"{path} is not a torch.export archive: {_EXPORT_ANEW}")
    return members


def _rebuild(members: dict[str, bytes], path: Path) -> io.BytesIO:
    """A fresh archive of the checked parts, so that torch's own zip reader can't see other ones."""
    for kind in ("weights", "constants"):
        config = json.loads(members[f"data/{kind}/model_{kind}_config.json"])
        for name, payload in config["config"].items():
            if payload["use_pickle"] or f"data/{kind}/{payload['path_name']}" not in members:
                raise ModelUnusable(f"{path} pickles {name}; only plain tensors are read. {_EXPORT_ANEW}")
    program = json.loads(members["models/model.json"])
    _check(program, path)
    # Guards are Python source that would be compiled; shapes are ours to keep, so nothing needs guarding.
    program["guards_code"] = []
    members = {**members, "models/model.json": json.dumps(program).encode(), "data/sample_inputs/model.pt": b""}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as clean:
        for name, content in members.items():
            clean.writestr(f"model/{name}", content)
    buffer.seek(0)
    return buffer


def _check(node: Any, path: Path) -> None:
    """Refuse operators and expressions that are not on the lists; drop tracing metadata, wherever it is."""
    if isinstance(node, list):
        for child in node:
            _check(child, path)
    elif isinstance(node, dict):
        target, expression = node.get("target"), node.get("expr_str")
        if "inputs" in node and "outputs" in node and "target" in node:
            if not (isinstance(target, str) and _TARGET.fullmatch(target)):
                raise ModelUnusable(f"{path} calls {target!r}; only aten operators are allowed. {_EXPORT_ANEW}")
            node["metadata"] = {}
        if "expr_str" in node and not (isinstance(expression, str) and _EXPRESSION.fullmatch(expression)):
            raise ModelUnusable(f"{path} has the shape expression {expression!r:.100}; only arithmetic is allowed")
        for child in node.values():
            _check(child, path)
