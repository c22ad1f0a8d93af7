"""Prefix tokens: learned tokens that are put before the patches.

The class token and the distillation token come first and may have positions; then come
`registers`, which have none (Darcet et al. 2023, Vision Transformers Need Registers, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vitprof.errors import listing
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Options, whole
from vitprof.values.size import ONE, Size


@dataclass(frozen=True, kw_only=True)
class PrefixOptions(Options):
    """The prefix tokens of a model, except those that its pooling reads."""

    registers: int = whole(
        0,
        minimum=0,
        maximum=10_000,
        help="register tokens after the class token, without positions; 0 for none",
    )

    def register_tokens(self, run: Run, dim: Size) -> list[Tensor]:
        """Return the parameter of the registers, (1, registers, D), in a list; empty for none."""
        if not self.registers:
            return []
        return [run.parameter("reg_token", ONE, Size(self.registers, "registers"), dim)]


def put_before(
    run: Run, x: Tensor, tokens: Sequence[Tensor], whole: Size, *, behind: int = 0
) -> Tensor:
    """Put tokens of (1, n, D) before x, (B, N, D), or behind the first tokens of x.

    Args:
        run: the run.
        x: the tokens of each image.
        tokens: what is put before them.
        whole: number of tokens with them.
        behind: number of tokens of x that stay in front.
    """
    if not tokens:
        return x
    B, _, D = x.shape
    front = Size(behind, "prefix tokens")
    parts = [x[:, :front], x[:, front:]] if behind else [x]
    joined = [token.expand(B, token.shape[1], D) for token in tokens]
    return run.cat([*parts[:-1], *joined, parts[-1]], 1, whole)


def left_out(tokens: Sequence[tuple[str, str]]) -> str:
    """Return the clause that options leave out prefix tokens; empty if there are none.

    Args:
        tokens: name of each kind of token, and the option that leaves it out.
    """
    if not tokens:
        return ""
    names = [name for name, _ in tokens]
    which = f"the {names[0]}" if len(names) == 1 else listing(names, "and")
    return f"{' '.join(option for _, option in tokens)} leaves out {which}"
