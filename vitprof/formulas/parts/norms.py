"""Norms of tokens: of the channels of each, or of all tokens of an image (`group`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Options, choice

NORMS: dict[str, Callable[[Run, str, Tensor], Tensor]] = {
    "layer": Run.layer_norm,
    "rms": Run.rms_norm,
    "affine": Run.affine,
    "batch": Run.token_batch_norm,
    "group": Run.token_group_norm,
}


@dataclass(frozen=True, kw_only=True)
class NormOptions(Options):
    """The norm of a model."""

    norm: str = choice("layer", names=tuple(NORMS), help="norm in the blocks and before the head")

    def normalise(self, run: Run, name: str, x: Tensor) -> Tensor:
        """Run the norm that `norm` selects on (B, N, D) or (B, D)."""
        return NORMS[self.norm](run, name, x)
