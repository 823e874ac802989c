"""Make the built-in network cheaper on CPU without changing what it computes: fewer passes over memory.

Batch norms fold into the convolutions before them, padding and ReLU6 into oneDNN's convolution, and all of it runs in one
precision, so that nothing is converted between layers: bfloat16 where the CPU computes in it, with the mean over positions
and the last layer in float32. `docs/performance.md` has what each step gains; AOTInductor (`compiled.py`) is slower than
this on every CPU tried, and in bfloat16 less exact. Networks of the user's own are left as they are.
"""

import copy
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline_assets.classify.models import EfficientNetLite0

_PAIRS = (
    ("_conv_stem", "_bn0", True),
    ("_expand_conv", "_bn0", True),
    ("_depthwise_conv", "_bn1", True),
    ("_project_conv", "_bn2", False),
    ("_conv_head", "_bn1", True),
)


class FusedConvolution(nn.Module):
    """ReLU6(convolution(pad(x)) + bias) in one pass where oneDNN does it, else step by step; computed in `dtype`.

    The operator is the one that torch's own compiler emits for this pattern.
    """

    def __init__(self, convolution: Any, has_relu6: bool, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weight = nn.Parameter(convolution.weight.detach().to(dtype), requires_grad=False)
        self.bias = nn.Parameter(convolution.bias.detach().to(dtype), requires_grad=False)
        self.stride = list(convolution.stride)
        self.groups = int(convolution.groups)
        self.has_relu6 = has_relu6
        left, right, top, bottom = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
        # TensorFlow's "same" padding is uneven where the stride is 2: only even padding is the convolution's own.
        is_even = left == right and top == bottom
        self.padding = [top, left] if is_even else [0, 0]
        self.pad = None if is_even else (left, right, top, bottom)
        self.is_fusable = hasattr(torch.ops.mkldnn, "_convolution_pointwise")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C_in, H, W) -> (B, C_out, H', W') of the weights' dtype."""
        x = x.to(self.weight.dtype)
        if self.pad is not None:
            x = nn.functional.pad(x, self.pad)
        if self.is_fusable and x.device.type == "cpu":
            after = ("hardtanh", [0.0, 6.0], "") if self.has_relu6 else ("none", [], "")
            return torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, self.padding, self.stride, [1, 1], self.groups, *after
            )
        x = nn.functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, 1, self.groups)
        return nn.functional.relu6(x, inplace=True) if self.has_relu6 else x


class FusedLite0(nn.Module):
    """The built-in network with fused convolutions; see `models.EfficientNetLite0`, whose outputs it has."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        for part in list(net.modules()):
            found = [pair for pair in _PAIRS if hasattr(part, pair[0])]
            for convolution, norm, has_relu6 in found:
                folded = fuse_conv_bn_eval(getattr(part, convolution), getattr(part, norm))
                setattr(part, convolution, FusedConvolution(folded, has_relu6, dtype))
                setattr(part, norm, nn.Identity())
            if found:
                part._swish = nn.Identity()
        self.net = net

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, 224, 224) float32 -> logits (B, 1000), embedding (B, 1280), both float32."""
        embedding = self.net.extract_features(x).mean((2, 3), dtype=torch.float32)  # type: ignore[operator]
        return self.net._fc(embedding), embedding  # type: ignore[operator]


@lru_cache(maxsize=2)
def fuse(module: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module | None:
    """A fused copy of the built-in network that computes in `dtype`, made once; None for any other network.

    In float32 its logits are within 1e-4 of the original's.
    """
    if not isinstance(module, EfficientNetLite0):
        return None
    fused: nn.Module = FusedLite0(copy.deepcopy(module.net), dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fused
