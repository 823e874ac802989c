"""Model weights as bytes: the safetensors layout, which holds tensors and strings and can't run code.

8 bytes little-endian length, a JSON header {name: {dtype, shape, data_offsets}, __metadata__: {str: str}}, then the
tensors' bytes. The same tensors give the same bytes, so weights can be named by their sha256. The library safetensors
(0.8) reads these bytes, but can't write them: it orders metadata by chance, so that four processes gave the same tensors and
strings four digests.
Source: the format's description in the README of huggingface/safetensors.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pipeline_assets.errors import ModelUnusable
from pipeline_assets.runtime import strict_json

_MAX_HEADER_BYTES = 1_000_000


def to_bytes(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """Serialise float32 tensors and strings; independent of their order."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    parts, offset = [], 0
    for name, tensor in sorted(tensors.items()):
        data = tensor.detach().cpu().contiguous().numpy().astype("<f4", casting="equiv").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + len(data)]}
        parts.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def from_bytes(data: bytes) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of `to_bytes`.  Raises ModelUnusable for anything else."""
    try:
        return _parse(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnusable(f"not weights of a popularity model ({error}): fetch them again by their sha256") from error


def _parse(data: bytes) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(_MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError(f"{len(data)} bytes with a header of {length}")
    header = strict_json.loads(data[8 : 8 + length])
    metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
    body = memoryview(data)[8 + length :]
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        if entry["dtype"] != "F32" or first != end:
            raise ValueError(f"tensor {name} is not float32 or does not follow the one before")
        values = np.frombuffer(body[first:last], dtype="<f4").reshape(entry["shape"])
        tensors[name], end = torch.from_numpy(values.astype(np.float32)), last
    if end != len(body):
        raise ValueError(f"tensors of {end} bytes in a body of {len(body)}")
    return tensors, metadata
