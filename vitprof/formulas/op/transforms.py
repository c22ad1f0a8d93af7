"""Fourier transforms."""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.op.base import Op, Shape, Uncounted
from vitprof.formulas.work import Work
from vitprof.values.size import Size, product


@dataclass(slots=True)
class FFT(Op):
    """A discrete Fourier transform over some axes at once, by the fast algorithm.

    That is no contraction, and it has no MACs. `flops` is the figure that is usual for it.

    Attributes:
        torch_type: class name of the module, `HalfFFT2`.
        lead: axes along which each is transformed apart.
        lengths: axes that are transformed.
        out: shape of what it writes.
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
        """5 n log2(n) for each transform of n points, the logarithm rounded up.

        The exact sum of the radix-2 algorithm for complex numbers where n is a power of two,
        and an estimate elsewhere; real numbers could do with half of it.
        """
        points = product(self.lengths)
        # As many powers of two are below n; NumPy's arrays have no `bit_length`.
        stages = sum((points.value > 2**power) * 1 for power in range(64))
        return 5 * product((*self.lead, *self.lengths)) * Size(stages, "⌈log2 n⌉")
