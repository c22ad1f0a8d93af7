"""Norms of the channels of each token."""

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
}


@dataclass(frozen=True, kw_only=True)
class NormOptions(Options):
    """The norm of a model."""

    norm: str = choice("layer", names=tuple(NORMS), help="norm in the blocks and before the head")

    def normalise(self, run: Run, name: str, x: Tensor) -> Tensor:
        """Run the norm that `norm` selects on the last axis."""
        return NORMS[self.norm](run, name, x)
