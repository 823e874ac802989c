"""The operators that an exported classifier may call: aten operators of inference, and arithmetic on sizes.

The list has the operators of usual convolutional networks and vision transformers, before and after
`ExportedProgram.run_decompositions()`. Each checks its arguments, is deterministic, and has a result whose shape depends
on shapes alone. Not on the list: operators without checks (`_unsafe_*`, `set_`), those that depend on the memory layout
(`as_strided`) or read files, uninitialized memory or random numbers, sparse, quantized, custom and training operators.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import torch


def _overloads(text: str) -> frozenset[str]:
    """`add.Tensor|Scalar clone` -> add.Tensor, add.Scalar, clone.default."""
    names = set()
    for word in text.split():
        name, _, overloads = word.partition(".")
        names |= {f"{name}.{overload}" for overload in (overloads or "default").split("|")}
    return frozenset(names)


TENSOR_OPERATORS = _overloads(
    # Layers
    """
    linear addmm mm bmm baddbmm matmul mv dot einsum bilinear
    conv1d.default|padding conv2d.default|padding conv3d.default|padding convolution
    conv_transpose1d conv_transpose2d.input conv_transpose3d.input
    batch_norm _native_batch_norm_legit_no_training _native_batch_norm_legit.no_stats
    layer_norm native_layer_norm group_norm native_group_norm
    instance_norm rms_norm _fused_rms_norm cosine_similarity
    max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d adaptive_max_pool2d
    dropout dropout_ feature_dropout alpha_dropout native_dropout
    embedding scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu
    upsample_nearest2d.default|vec upsample_bilinear2d.default|vec upsample_bicubic2d.default|vec
    _upsample_bilinear2d_aa.default|vec _upsample_bicubic2d_aa.default|vec
    pixel_shuffle pixel_unshuffle channel_shuffle im2col col2im
    """
    # Activations
    """
    relu relu_ relu6 relu6_ hardtanh hardtanh_ leaky_relu leaky_relu_ elu elu_ celu celu_ selu selu_ prelu _prelu_kernel
    gelu gelu_ silu silu_ mish mish_ softplus hardswish hardswish_ hardsigmoid hardsigmoid_ sigmoid sigmoid_
    log_sigmoid glu tanh tanh_ softmax.int _softmax log_softmax.int _log_softmax threshold hardshrink softshrink
    """
    # Arithmetic, element by element
    """
    add.Tensor|Scalar add_.Tensor|Scalar sub.Tensor|Scalar sub_.Tensor|Scalar rsub.Scalar|Tensor
    mul.Tensor|Scalar mul_.Tensor|Scalar div.Tensor|Scalar|Tensor_mode|Scalar_mode div_.Tensor|Scalar
    floor_divide.default|Scalar remainder.Scalar|Tensor fmod.Scalar|Tensor addcmul addcdiv addcmul_ addcdiv_
    pow.Tensor_Scalar|Tensor_Tensor|Scalar neg abs sign square sqrt rsqrt reciprocal exp expm1 log log1p log2
    exp2 sin cos tan atan atan2 erf floor ceil round trunc lerp.Scalar|Tensor
    maximum minimum clamp.default|Tensor clamp_ clamp_min clamp_max clip nan_to_num
    eq.Tensor|Scalar ne.Tensor|Scalar lt.Tensor|Scalar le.Tensor|Scalar gt.Tensor|Scalar ge.Tensor|Scalar
    logical_not logical_and logical_or logical_xor bitwise_not bitwise_and.Tensor bitwise_or.Tensor
    where.self|ScalarSelf|ScalarOther|Scalar masked_fill.Scalar|Tensor masked_fill_.Scalar|Tensor isnan isinf
    """
    # Over dimensions
    """
    mean.default|dim sum.default|dim_IntList amax amin max.default|dim min.default|dim argmax argmin prod.default|dim_int
    var.default|dim|correction std.default|dim|correction var_mean.dim|correction std_mean.correction logsumexp cumsum
    any.default|dim all.default|dim norm.ScalarOpt_dim linalg_vector_norm topk sort argsort
    """
    # Shapes
    """
    view reshape reshape_as view_as flatten.using_ints unflatten.int permute transpose.int t mT numpy_T adjoint swapaxes
    swapdims movedim.int|intlist moveaxis.int
    squeeze.default|dim|dims unsqueeze expand expand_as broadcast_to repeat tile repeat_interleave.self_int
    cat concat stack hstack vstack split.Tensor|sizes split_with_sizes chunk unbind.int tensor_split.sections
    select.int slice.Tensor narrow index.Tensor index_select gather take_along_dim select_scatter slice_scatter
    pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d
    roll flip rot90 unfold tril triu diagonal contiguous clone alias detach detach_ lift_fresh_copy
    copy copy_ fill_.Scalar|Tensor zero_ fill.Scalar|Tensor
    to.dtype|dtype_layout|device|other _to_copy type_as
    """
    # New tensors
    """
    zeros ones full arange.default|start|start_step linspace eye scalar_tensor meshgrid.default|indexing
    zeros_like ones_like full_like new_zeros new_ones new_full
    """
)

ARITHMETIC: dict[str, Callable[..., Any]] = {
    **{f"_operator.{name}": getattr(operator, name) for name in ("add", "sub", "mul", "floordiv", "mod", "neg", "truediv")},
    **{f"_operator.{name}": getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_")},
    **{f"torch.sym_{name}": getattr(torch, f"sym_{name}") for name in ("max", "min", "int", "float", "not")},
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc")},
}
"""Of sizes, by the names that archives have."""

SIZE_OPERATORS = frozenset({"torch.ops.aten.sym_size.int", "torch.ops.aten.sym_numel.default"})
"""Their result is a number."""

ASSERTIONS = frozenset(
    f"torch.ops.aten.{name}.default"
    for name in (
        "_assert_tensor_metadata",
        "_assert_scalar",
        "_assert_async",
        "sym_constrain_range",
        "sym_constrain_range_for_size",
    )
)
"""What holds the network to its export's shapes: left out, because every pass has a shape that was tried."""

SIZES = frozenset({"N", "size", "shape", "repeats", "start", "end", "length", "split_size", "split_sizes", "sizes"})
"""Arguments that may depend on how many photos there are. All others are the file's constants, so that what a trial shows of
them holds for batches of any size."""
