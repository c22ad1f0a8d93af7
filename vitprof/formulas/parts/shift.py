"""The q-shift of Vision-RWKV (Duan et al. 2024, eq. 2): channels that are moved by a patch."""

from __future__ import annotations

from collections.abc import Sequence

from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import ONE, Size

_MOVES = (("right", 2, 1), ("left", 2, -1), ("down", 1, 1), ("up", 1, -1))  # axis and places


def q_shift(run: Run, x: Tensor, grid: tuple[Size, Size]) -> Tensor:
    """Move each quarter of the channels of (B, N, D) one patch right, left, down and up.

    What comes from outside of the image is zero; the D mod 4 last channels stay.
    """
    (B, N, D), (rows, columns) = x.shape, grid
    quarter = (D // 4).named("D/4")
    rest = D - 4 * quarter
    widths = [*4 * [quarter], rest]
    parts = x.reshape(B, rows, columns, D).split([one for one in widths if _there(one)], -1)
    moved = [
        run.shift(f"shift_{name}", part, dim, places)
        for (name, dim, places), part in zip(_MOVES, parts, strict=False)
        if _there(quarter)
    ]
    return run.cat([*moved, *parts[len(moved) :]], -1, D).reshape(B, N, D)


def mix(run: Run, x: Tensor, grid: tuple[Size, Size], names: Sequence[str]) -> list[Tensor]:
    """Return X_q + m (X - X_q) for each name, with X_q the q-shift of X and a learned m of D."""
    D = x.shape[-1]
    learned = [run.parameter(f"mix_{name}", ONE, ONE, D) for name in names]
    shifted = q_shift(run, x, grid)
    moved = run.subtract("moved", x, shifted)
    return [
        run.add(f"x_{name}", shifted, run.multiply(f"moved_{name}", moved, m))
        for name, m in zip(names, learned, strict=True)
    ]


def _there(width: Size) -> bool:
    """Return True unless a width is known to be zero."""
    return not isinstance(width.value, int) or width.value > 0
