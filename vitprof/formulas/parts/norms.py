"""Norms of tokens: of the channels of each, or of all tokens of an image (`group`).

Without `norm_bias`, a layer or group norm has a gain only (Yu et al. 2022, MetaFormer Baselines for
Vision, `LayerNormGeneral` of its code).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Needs, Options, choice, flag, needing

NORMS: dict[str, Callable[..., Tensor]] = {
    "layer": Run.layer_norm,
    "rms": Run.rms_norm,
    "affine": Run.affine,
    "batch": Run.token_batch_norm,
    "group": Run.token_group_norm,
}


WITH_BIAS = ("layer", "group")  # norms that can be without a bias


def norm_bias_option(of: str, *others: Needs) -> Any:
    """Declare the biases of norms; `others` are alternatives to a layer or group norm."""
    return needing(flag(True, help=f"biases of {of}"), {"norm": WITH_BIAS}, *others)


def normalise(run: Run, norm: str, name: str, x: Tensor, *, bias: bool) -> Tensor:
    """Run a norm on (B, N, D) or (B, D); `bias` is of those that can be without."""
    return NORMS[norm](run, name, x, **({"bias": bias} if norm in WITH_BIAS else {}))


@dataclass(frozen=True, kw_only=True)
class NormOptions(Options):
    """The norm of a model."""

    norm: str = choice("layer", names=tuple(NORMS), help="norm in the blocks and before the head")

    norm_bias: bool = norm_bias_option("layer and group norms")

    def normalise(self, run: Run, name: str, x: Tensor) -> Tensor:
        """Run the norm that `norm` selects on (B, N, D) or (B, D)."""
        return normalise(run, self.norm, name, x, bias=self.norm_bias)
