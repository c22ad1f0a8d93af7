"""Kernels that contract: the sizes whose product is their multiply-accumulates.

A kernel of the backward pass that computes the gradients of a contraction has a product for each.

Source: the definitions of these functions in PyTorch's documentation and
`aten/src/ATen/native/native_functions.yaml`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from vitprof.formulas.op import Pass

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Product:
    """A contraction of a kernel.

    Attributes:
        kernel: name of the kernel, `aten::mm`.
        sizes: sizes whose product is its multiply-accumulates.
        part: part of a training step, if the kernel says it; else None.
        groups: groups of channels of a convolution.
    """

    kernel: str
    sizes: Shape
    part: Pass | None = None
    groups: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return prod(self.sizes)


Rule = Callable[[Sequence[Any], dict[str, Any], Any], list[Shape]]


def products(func: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Product]:
    """Return the contractions of a call of a kernel; none if it is no contraction."""
    name = func._schema.name
    if name in _GRADIENTS:
        return [Product(name, *one) for one in _GRADIENTS[name](args)]
    rule = _RULES.get(name) or _RULES.get(name.removesuffix("_"))
    if rule is None:
        return []
    return [Product(name, sizes) for sizes in rule(args, kwargs, result)]


def multiplied(func: Any, args: Sequence[Any]) -> Sequence[Any]:
    """Return the operands of a contraction, without what is added to it."""
    first = 1 if func._schema.name in _ADDING else 0
    return args[first : first + 2]


def is_known(func: Any) -> bool:
    """Return True if a kernel is known to contract nothing.

    Functions that torch tags as pointwise and views are, and those of a list; what is neither
    may hide a contraction and is named in the report.
    """
    name = func._schema.name
    if not name.startswith("aten::"):
        return False
    short = name.removeprefix("aten::")
    if torch.Tag.pointwise in func.tags or func.is_view or short.rstrip("_") in _WITHOUT_PRODUCTS:
        return True
    if "_backward" in short and not any(word in short for word in _CONTRACTING):
        return True
    # Of pointwise functions in place torch tags few.
    usual = getattr(torch.ops.aten, short.removesuffix("_"), None)
    return usual is not None and any(
        torch.Tag.pointwise in getattr(usual, overload).tags for overload in usual.overloads()
    )


def moves(func: Any) -> bool:
    """Return True if a kernel only makes a view, copies or fills."""
    return func.is_view or func._schema.name.removeprefix("aten::").rstrip("_") in MOVES


def _matrices(first: int) -> Rule:
    def rule(args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Shape]:
        a, b = args[first], args[first + 1]
        return [(*a.shape, b.shape[-1])]

    return rule


def _vector(first: int) -> Rule:
    def rule(args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Shape]:
        return [tuple(args[first].shape)]

    return rule


def _convolution(args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Shape]:
    x, weight, transposed = args[0], args[1], args[6]
    positions = x.shape[2:] if transposed else result.shape[2:]
    return [(x.shape[0], *positions, *weight.shape[2:], weight.shape[1], weight.shape[0])]


def _attention(args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Shape]:
    q, k, v = args[:3]
    keys = k.shape[-2]
    return [(*q.shape, keys), (*q.shape[:-1], keys, v.shape[-1])]


def _recurrent(args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Shape]:
    x, of_input, of_state = args[0], args[1], args[2]
    return [(*x.shape[:-1], *of_input.shape), (*x.shape[:-1], *of_state.shape)]


def _grouped(args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Shape]:
    a, b = args[:2]  # groups are of the rows, the columns or the inner axis of what has no third
    return [(*(a.shape if b.ndim == 3 else a.shape[-2:]), b.shape[-1])]


def _trilinear(args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Shape]:
    x, weight = args[:2]
    if [list(axes) for axes in args[3:7]] != [[1, 3], [0], [1, 2], [2, 3]]:  # of `bilinear`
        return []
    return [(x.shape[0], *weight.shape), (x.shape[0], weight.shape[0], weight.shape[2])]


def _distances(args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Shape]:
    return [(*result.shape, args[0].shape[-1] + 2)]  # squares of norms are two more columns


def _conv_of_steps(args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> list[Shape]:
    return [(*result.shape[:2], *args[1].shape)]


_ADDING = {f"aten::{name}" for name in ("addmm", "_addmm_activation", "baddbmm", "addbmm", "addmv")}

Gradient = tuple[Shape, Pass, int]


def _convolution_backward(args: Sequence[Any]) -> list[Gradient]:
    gradient, x, weight, transposed, groups, wanted = *args[:3], args[7], args[9], args[10]
    positions = (x if transposed else gradient).shape[2:]
    sizes = (x.shape[0], *positions, *weight.shape[2:], weight.shape[1], weight.shape[0])
    parts = (Pass.BY_INPUT, Pass.BY_WEIGHT)
    return [(sizes, part, groups) for part, own in zip(parts, wanted, strict=False) if own]


def _attention_backward(args: Sequence[Any]) -> list[Gradient]:
    q, k, v = args[1:4]
    of_scores = (*q.shape, k.shape[-2])
    of_values = (*q.shape[:-1], k.shape[-2], v.shape[-1])
    by_input = [of_values, of_values, of_scores, of_scores]  # of v, the weights, q and k
    again = (of_scores, Pass.RECOMPUTED, 1)
    return [*((sizes, Pass.BY_INPUT, 1) for sizes in by_input), again]


def _recurrent_backward(args: Sequence[Any]) -> list[Gradient]:
    x, of_input, of_state = args[:3]
    both = [(*x.shape[:-1], *of_input.shape), (*x.shape[:-1], *of_state.shape)]
    return [(sizes, part, 1) for part in (Pass.BY_INPUT, Pass.BY_WEIGHT) for sizes in both]


_GRADIENTS: dict[str, Callable[[Sequence[Any]], list[Gradient]]] = {
    "aten::convolution_backward": _convolution_backward,
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    "aten::_scaled_dot_product_flash_attention_backward": _attention_backward,
    "aten::_scaled_dot_product_efficient_attention_backward": _attention_backward,
    "aten::_scaled_dot_product_cudnn_attention_backward": _attention_backward,
    "aten::mkldnn_rnn_layer_backward": _recurrent_backward,
}
# Parts of the names of kernels that compute the gradients of contractions.
_CONTRACTING = ("conv", "linear", "matmul", "attention", "rnn", "lstm", "gru", "_mm", "bilinear_")

_RULES: dict[str, Rule] = {
    "aten::mm": _matrices(0),
    "aten::bmm": _matrices(0),
    "aten::addmm": _matrices(1),
    "aten::_addmm_activation": _matrices(1),
    "aten::baddbmm": _matrices(1),
    "aten::addbmm": _matrices(1),
    "aten::_int_mm": _matrices(0),
    "aten::_scaled_mm": _matrices(0),
    "aten::_grouped_mm": _grouped,
    "aten::_scaled_grouped_mm": _grouped,
    "aten::_trilinear": _trilinear,
    "aten::_euclidean_dist": _distances,
    "aten::conv_tbc": _conv_of_steps,
    "aten::mv": _vector(0),
    "aten::addmv": _vector(1),
    "aten::dot": _vector(0),
    "aten::vdot": _vector(0),
    "aten::convolution": _convolution,
    "aten::_convolution": _convolution,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_flash_attention": _attention,
    "aten::_scaled_dot_product_efficient_attention": _attention,
    "aten::_scaled_dot_product_cudnn_attention": _attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": _attention,
    "aten::mkldnn_rnn_layer": _recurrent,
}

_MOVED = """
alias arange as_strided as_strided_scatter _assert_async bartlett_window blackman_window block_diag
bucketize cat channel_shuffle clone col2im constant_pad_nd copy detach diag_embed diagonal_copy
diagonal_scatter _efficientzerotensor embedding empty empty_like empty_permuted empty_strided expand
expand_copy eye fill flip full full_like gather hamming_window hann_window _has_same_storage_numel
im2col index index_copy index_fill index_put _index_put_impl index_select lift_fresh lift_fresh_copy
linspace logspace masked_fill masked_scatter masked_select max_unpool2d max_unpool3d narrow_copy
native_channel_shuffle new_empty new_empty_strided new_full new_ones new_zeros nonzero
nonzero_static one_hot ones ones_like permute_copy _pin_memory pixel_shuffle pixel_unshuffle
promote_types put range reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave
replication_pad1d replication_pad2d replication_pad3d _reshape_alias resize resize_as roll rot90
scalar_tensor scatter select_scatter set slice_scatter split_with_sizes_copy squeeze stack t take
_to_copy to_padded_tensor transpose tril tril_indices triu triu_indices unfold _unsafe_index
_unsafe_index_put _unsafe_masked_index unsafe_split unsafe_split_with_sizes _unsafe_view unsqueeze
view_as_complex view_as_real view_as_real_copy zero zeros zeros_like
"""
_CALCULATED = """
addr all allclose amax amin _aminmax aminmax any argmax argmin argsort bincount _cdist_forward
count_nonzero cross cummax cummin cumprod cumsum dist _embedding_bag _embedding_bag_forward_only
equal floor_divide frexp histc index_add index_reduce _is_all_true _is_any_true is_same_size isin
kthvalue _linalg_check_errors linalg_cross linalg_vector_norm _local_scalar_dense logcumsumexp
logsumexp max mean median min mode nanmedian nansum norm _pdist_forward prod renorm scatter_add
scatter_reduce searchsorted segment_reduce sort std std_mean sum sym_size topk trace _unique
_unique2 unique2 unique_consecutive unique_dim unique_dim_consecutive var var_mean
bernoulli binomial cauchy dropout exponential _fused_dropout geometric log_normal multinomial
native_dropout normal poisson rand rand_like randint randint_like randn randn_like random randperm
_sample_dirichlet _standard_gamma uniform
binary_cross_entropy binary_cross_entropy_with_logits cross_entropy huber_loss kl_div l1_loss
_log_softmax _masked_softmax mse_loss multi_margin_loss multilabel_margin_loss_forward nll_loss
nll_loss2d_forward nll_loss_forward _safe_softmax smooth_l1_loss soft_margin_loss _softmax
batch_norm _batch_norm_no_update _batch_norm_with_update cudnn_batch_norm _fused_rms_norm
instance_norm native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
native_group_norm native_layer_norm rms_norm
adaptive_avg_pool1d _adaptive_avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool3d
adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d affine_grid_generator avg_pool1d
avg_pool2d avg_pool3d fractional_max_pool2d fractional_max_pool3d grid_sampler grid_sampler_2d
grid_sampler_3d max_pool1d max_pool2d max_pool2d_with_indices max_pool3d max_pool3d_with_indices
upsample_bicubic2d _upsample_bicubic2d_aa upsample_bilinear2d _upsample_bilinear2d_aa
_upsample_lanczos2d_aa upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_trilinear3d
celu clamp complex elu glu hardshrink hardswish log_sigmoid_forward mish polar prelu _prelu_kernel
rrelu_with_noise rsub softshrink threshold _weight_norm_interface where xlogy
"""
MOVES = frozenset(_MOVED.split())
_WITHOUT_PRODUCTS = MOVES | frozenset(_CALCULATED.split())
