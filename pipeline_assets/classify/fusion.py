"""Makes the built-in network cheaper on CPU without changing its results: fewer passes over memory.

Batch norms are folded into the preceding convolutions, padding and ReLU6 into oneDNN's convolution, whose weights are
packed for one batch size. Everything runs in one precision, so that nothing is converted between layers: bfloat16 where
the CPU supports it, with the mean over positions and the last layer in float32. Layers are plain calls: the Python code
of modules is 5 % of a pass over four photos, and other threads wait for it. `docs/performance.md` has the gain of each
step; AOTInductor (`compiled.py`) is slower on every CPU tested, and less exact in bfloat16. A user's own network is not
changed.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline_assets.classify.models import EfficientNetLite0
from pipeline_assets.classify.runners import CPU_ROWS, Forward

SIDE_PX = 224
"""Of the photos that the built-in network was trained on."""


class FusedConvolution:
    """ReLU6(convolution(pad(x)) + bias) in one pass where oneDNN supports it, else in steps; computed in `dtype`.

    The operator is the one that torch's compiler emits for this pattern.
    """

    def __init__(self, convolution: Any, has_relu6: bool, dtype: torch.dtype = torch.float32) -> None:
        self.weight = convolution.weight.detach().to(dtype)
        self.bias = convolution.bias.detach().to(dtype)
        self.stride = list(convolution.stride)
        self.groups = int(convolution.groups)
        self.has_relu6 = has_relu6
        left, right, top, bottom = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
        # TensorFlow's "same" padding is uneven for stride 2: the convolution itself supports only even padding.
        is_even = left == right and top == bottom
        self.padding = [top, left] if is_even else [0, 0]
        self.pad = None if is_even else [left, right, top, bottom]
        self.is_fusable = hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        self._after = ("hardtanh", [0.0, 6.0], "") if has_relu6 else ("none", [], "")

    def pack(self, rows: int, side: int) -> int:
        """Pack the weights for inputs (rows, C_in, side, side), and return the output's side.

        Inputs of other sizes give the same results, more slowly.
        """
        padded = side + (self.pad[0] + self.pad[1] if self.pad else 0)
        kernel = int(self.weight.shape[-1])
        if self.is_fusable and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight"):
            shape = [rows, self.weight.shape[1] * self.groups, padded, padded]
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, self.padding, self.stride, [1, 1], self.groups, shape
            )
        return (padded + 2 * self.padding[0] - kernel) // int(self.stride[0]) + 1

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C_in, H, W) -> (B, C_out, H', W'), both of the weights' dtype."""
        if self.pad is not None:
            x = torch.constant_pad_nd(x, self.pad)
        if self.is_fusable:
            return torch.ops.mkldnn._convolution_pointwise.default(
                x, self.weight, self.bias, self.padding, self.stride, [1, 1], self.groups, *self._after
            )
        x = nn.functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, 1, self.groups)
        return nn.functional.relu6(x, inplace=True) if self.has_relu6 else x


class FusedLite0:
    """The built-in network with fused convolutions; its outputs are those of `models.EfficientNetLite0`."""

    def __init__(self, net: Any, dtype: torch.dtype, rows: int, side: int) -> None:
        def fused(convolution: Any, norm: Any, *, has_relu6: bool = True) -> FusedConvolution:
            nonlocal side
            layer = FusedConvolution(fuse_conv_bn_eval(convolution, norm), has_relu6, dtype)
            side = layer.pack(rows, side)
            return layer

        self._dtype = dtype
        self._stem = fused(net._conv_stem, net._bn0)
        self._blocks: list[tuple[list[FusedConvolution], bool]] = []
        for block in net._blocks:
            block_args = block._block_args
            steps = [fused(block._expand_conv, block._bn0)] if block_args.expand_ratio != 1 else []
            steps.append(fused(block._depthwise_conv, block._bn1))
            steps.append(fused(block._project_conv, block._bn2, has_relu6=False))
            self._blocks.append(
                (steps, block.id_skip and block_args.stride == 1 and block_args.input_filters == block_args.output_filters)
            )
        self._head = fused(net._conv_head, net._bn1)
        self._last = net._fc

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, 224, 224) float32 -> logits (B, 1000), embedding (B, 1280), both float32."""
        x = self._stem(x.to(self._dtype))
        for steps, has_skip in self._blocks:
            activations = x
            for step in steps:
                activations = step(activations)
            x = activations.add_(x) if has_skip else activations
        embedding = self._head(x).mean((2, 3), dtype=torch.float32)
        rows = len(embedding)
        # A product with a single row rounds in another order: with this many, a photo's logits are those of the batch.
        padded = nn.functional.pad(embedding, (0, 0, 0, CPU_ROWS - rows)) if rows < CPU_ROWS else embedding
        return self._last(padded)[:rows], embedding


@lru_cache(maxsize=2)
def fuse(module: nn.Module, dtype: torch.dtype = torch.float32, rows: int = CPU_ROWS, side: int = SIDE_PX) -> Forward | None:
    """The built-in network fused for `dtype` on CPU, made once; None for any other network.

    It is fastest for batches (rows, 3, side, side). In float32 its logits are within 1e-4 of the original's.
    """
    if not isinstance(module, EfficientNetLite0):
        return None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # many small steps: several threads for each take eight times the CPU time
    try:
        return FusedLite0(module.net, dtype, rows, side)
    finally:
        torch.set_num_threads(threads)
