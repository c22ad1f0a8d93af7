"""Autocast of a GPU on tensors of the CPU, whose own list of functions is shorter.

The lists are those of `ATen/autocast_mode.h`: AT_FORALL_FP32 casts every tensor; of the functions
of AT_FORALL_FP32_SET_OPT_DTYPE some read 16 bits and write fp32, so that a copy is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

_CAST = """
    acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow square
    softplus layer_norm native_layer_norm rms_norm group_norm frobenius_norm nuclear_norm
    cosine_similarity poisson_nll_loss cosine_embedding_loss nll_loss nll_loss_nd nll_loss2d
    hinge_embedding_loss kl_div l1_loss smooth_l1_loss huber_loss mse_loss margin_ranking_loss
    multilabel_margin_loss soft_margin_loss triplet_margin_loss multi_margin_loss
    binary_cross_entropy_with_logits cross_entropy_loss dist pdist cdist renorm logsumexp
    upsample_nearest1d _upsample_nearest_exact1d upsample_nearest2d _upsample_nearest_exact2d
    upsample_nearest3d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d
    _upsample_bilinear2d_aa upsample_trilinear3d upsample_bicubic2d _upsample_bicubic2d_aa
    prod softmax log_softmax cumprod cumsum linalg_matrix_norm
"""
_IN_FP32 = frozenset(_CAST.split())
_NORMS = frozenset(["linalg_vector_norm", "linalg_norm"])


def is_on() -> bool:
    """Return True within autocast."""
    return torch.is_autocast_enabled("cpu")


def lowered(tensor: Tensor) -> Tensor:
    """Return a tensor as autocast casts it for contractions."""
    if not is_on() or tensor.dtype != torch.float32:
        return tensor
    return tensor.to(torch.get_autocast_dtype("cpu"))


def cast(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, exact: bool
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a function as autocast of a GPU casts them.

    Args:
        function: a function of PyTorch.
        args: its arguments.
        kwargs: its arguments by name.
        exact: True for sums that read 16 bits themselves, False for a copy of them in fp32.
    """
    name = getattr(function, "__name__", "")
    if name in _NORMS and kwargs.get("dtype") is None:
        return args, {**kwargs, "dtype": torch.float32}
    if name == "sum":
        if kwargs.get("dtype") is not None or not _has_16_bits(args[0]):
            return args, dict(kwargs)
        if exact:
            return args, {**kwargs, "dtype": torch.float32}
        return (args[0].float(), *args[1:]), dict(kwargs)
    if name not in _IN_FP32 or "out" in kwargs:
        return args, dict(kwargs)
    return tree_map_only(Tensor, _raised, (args, dict(kwargs)))


def _has_16_bits(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.bfloat16, torch.float16)


def _raised(tensor: Tensor) -> Tensor:
    return tensor.float() if _has_16_bits(tensor) else tensor
