"""Fourier transforms."""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.op.base import Op, Shape, Uncounted
from vitprof.formulas.work import Work
from vitprof.values.size import Size, product


@dataclass(slots=True)
class FFT(Op):
    """A fast Fourier transform (FFT) over one or several axes.

    It is not a contraction and has no MACs. `flops` is the usual estimate of its cost.

    Attributes:
        torch_type: class name of the torch module, `HalfFFT2`.
        lead: batch axes.
        lengths: axes that are transformed.
        out: shape of its output.
    """

    torch_type: str
    lead: Shape
    lengths: Shape
    out: Shape
    work = Work.FFT

    @property
    def type(self) -> str:
        return self.torch_type

    @property
    def shape(self) -> Shape:
        return self.out

    @property
    def uncounted(self) -> Uncounted:
        return (("fft", product((*self.lead, *self.lengths))),)

    @property
    def flops(self) -> Size:
        """FLOPs by 5 n log2(n) for each transform of n points, the logarithm rounded up.

        It is exact for the radix-2 algorithm on complex numbers if n is a power of two, and an
        estimate otherwise. Real numbers need about half of it.
        """
        points = product(self.lengths)
        # The number of powers of two below n, since NumPy arrays have no `bit_length`.
        stages = sum((points.value > 2**power) * 1 for power in range(64))
        return 5 * product((*self.lead, *self.lengths)) * Size(stages, "⌈log2 n⌉")
