"""The program of a trial process: `python -m pipeline_assets.classify.trial_process '["model.pt2", 224, 1000, 600]'`.

The argument is JSON: the archive, the crop's side, the number of classes and a limit of CPU seconds. Standard output is
JSON: the width of the embedding, or the reason for a refusal.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from pipeline_assets.classify.archive import load_archive
from pipeline_assets.classify.models import Exported
from pipeline_assets.classify.runners import CPU_ROWS
from pipeline_assets.errors import ModelUnusable

MEMORY_LIMIT_BYTES = 4 << 30
"""For torch and what is between layers; four times the archive comes on top."""
_FILE_LIMIT_BYTES = 1 << 20
_DIVISIONS = ("aten::floor_divide", "aten::remainder", "aten::fmod")


def main(arguments_json: str) -> None:
    """Run the trial and print the answer."""
    path, crop_px, classes, cpu_limit_s = json.loads(arguments_json)
    weights = Path(path)
    _limit(weights, cpu_limit_s)
    try:
        answer: dict[str, Any] = {"width": width(weights, crop_px, classes)}
    except ModelUnusable as refusal:
        answer = {"refused": str(refusal)}
    except MemoryError:
        answer = {"refused": f"{weights} needs more memory than {MEMORY_LIMIT_BYTES >> 30} GiB and four times its size"}
    sys.stdout.write(json.dumps(answer))


def _limit(weights: Path, cpu_limit_s: int) -> None:
    """Limit this process: memory (on Linux only), CPU time, the size of files; no core dump."""
    limits = {
        resource.RLIMIT_DATA: MEMORY_LIMIT_BYTES + 4 * weights.stat().st_size,
        resource.RLIMIT_CPU: cpu_limit_s,
        resource.RLIMIT_FSIZE: _FILE_LIMIT_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def width(weights: Path, crop_px: int, classes: int) -> int:
    """The width of the embedding that a network gives for grey photos, in this process. Raises ModelUnusable."""
    network = load_archive(weights)
    exported_shape, expected_shape = network.meta["photos"][1:], [3, crop_px, crop_px]
    if any(size not in (None, side) for size, side in zip(exported_shape, expected_shape, strict=False)):
        raise ModelUnusable(
            f"{weights} takes photos of {exported_shape}, not {expected_shape}: set crop_px in preprocessing.json"
        )
    tensors = [*network.parameters(), *network.buffers()]
    versions = [tensor._version for tensor in tensors]
    # Two, because torch.export may turn a batch of one into a constant; and the batch of every later pass on a CPU.
    (width,) = {_pass(weights, network, rows, crop_px, classes) for rows in (2, CPU_ROWS)}
    if [tensor._version for tensor in tensors] != versions:
        raise ModelUnusable(f"{weights} changes its own weights: call eval() on the network before it is exported")
    return width


def _pass(weights: Path, network: nn.Module, rows: int, crop_px: int, classes: int) -> int:
    """Run grey photos through the network and check the outputs. Returns the embedding's width."""
    try:
        with torch.no_grad():
            logits, embedding = Exported(_Watched(network))(torch.zeros(rows, 3, crop_px, crop_px))
        shapes, width = (tuple(logits.shape), tuple(embedding.shape)), int(embedding.shape[-1])
    except Exception as error:
        raise ModelUnusable(
            f"{weights} does not take a float32 batch ({rows}, 3, {crop_px}, {crop_px}) to (logits, embedding) or logits: "
            f"export it with a dynamic batch dimension, and check crop_px. It says: {error!s:.300}"
        ) from error
    if shapes != ((rows, classes), (rows, width)):
        raise ModelUnusable(
            f"{weights} gives shapes {shapes[0]}, {shapes[1]} for {rows} photos; "
            f"classes.csv names {classes} classes, so ({rows}, {classes}) and ({rows}, width) are needed"
        )
    return width


class _Watched(nn.Module):
    """A network that refuses operations that are harmless on grey photos but may be harmful on others."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.interpreter = _Interpreter(network)

    def forward(self, x: torch.Tensor) -> Any:
        return self.interpreter.run(x)


class _Interpreter(fx.Interpreter):
    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One operator. Raises ValueError if sizes, or a division of integers, depend on a tensor's values.

        An index of booleans selects as many rows as are true. In compiled code, an integer divided by zero, or the least one
        divided by -1, ends the process.
        """
        name = target._schema.name if isinstance(target, torch._ops.OpOverload) else ""
        if name == "aten::index" and any(
            _dtype(index) in (torch.bool, torch.uint8) for index in args[1] if index is not None
        ):
            raise ValueError("it indexes with booleans, so that sizes depend on the photo: use where() or a product")
        is_rounded = name in _DIVISIONS or "rounding_mode" in kwargs
        if is_rounded and not any(_dtype(value).is_floating_point for value in args) and not _is_positive(args[1]):
            raise ValueError("it divides integers by other numbers than positive constants: divide floating-point numbers")
        return super().call_function(target, args, kwargs)


def _dtype(value: Any) -> torch.dtype:
    return value.dtype if isinstance(value, torch.Tensor) else torch.tensor(value).dtype


def _is_positive(value: Any) -> bool:
    return not isinstance(value, torch.Tensor) and value > 0


if __name__ == "__main__":
    main(sys.argv[1])
