"""MLPs, on each token.

plain      act(X W_1 + b_1) W_2 + b_2, D -> hidden -> D
gated      (act(G) * V) W_2 + b_2, with G, V = X W_1 + b_1 of `hidden` channels each
           (Shazeer 2020, GLU Variants Improve Transformer, eq. 6, with biases)
linear     act(X W_1 + b_1), D -> D
none       no MLP, and no norm for it

With `mlp_conv`, a plain MLP has a depthwise convolution on the grid of the tokens between its first
layer and the activation (Wang et al. 2021, PVTv2, section 3.3), after a ReLU if it is `relu-conv`,
as in the linear variant of PVTv2:

plain      act(conv(X W_1 + b_1)) W_2 + b_2, a 3 x 3 kernel and a bias for each hidden channel

An MLP of pooled or class tokens has none.

With `mlp_norm`, the hidden channels are normalised before W_2 (Fang et al. 2023, EVA-02, section
2.1). In training, `dropout` drops elements after each linear layer with its activation or gate.

The hidden width is `mlp_hidden`, or else dim times `mlp_ratio`, rounded down and then up to a
multiple of `mlp_multiple`, M: hidden = M × ceil(int(dim × ratio) / M), as in LLaMA's `multiple_of`
(Touvron et al. 2023, LLaMA, `FeedForward` of its code).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

from vitprof.formulas.parts.activations import ACTIVATIONS, activate
from vitprof.formulas.parts.norms import NormOptions
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import (
    Constraint,
    Needs,
    choice,
    flag,
    needing,
    plain,
    ratio,
    whole,
)
from vitprof.values.ratios import rounded_down
from vitprof.values.size import Size

WITH_HIDDEN = ("plain", "gated")  # MLPs with a hidden width
_ANY = (*WITH_HIDDEN, "linear")
_OF_RATIO: tuple[Needs, ...] = (  # one of the model's hidden widths follows from the ratio
    {"mlp": WITH_HIDDEN, "mlp_hidden": (0,)},
    {"mlp": WITH_HIDDEN, "decoder_mlp_hidden": (0,)},
)
# Activations before the convolution of an MLP.
CONVS: dict[str, tuple[str, ...]] = {"none": (), "conv": (), "relu-conv": ("relu",)}
_NOTHING: Needs = {}
TYPES = {"plain": "Mlp", "gated": "GatedLinearUnit", "linear": "Pointwise", "none": ""}  # -> class


def activation_option(default: str, *others: Needs) -> Any:
    """Declare the MLP's activation; `others` are alternatives in which another part uses it."""
    return needing(
        choice(default, names=ACTIVATIONS, help="activation of the MLP"),
        {"mlp": _ANY},
        {"block": ("conv",)},
        {"patch_interaction": (True,)},
        *others,
    )


def mlp_hidden_option(otherwise: str, of: str = "the MLP") -> Any:
    """Declare a hidden width, 0 if it follows from others."""
    width = whole(0, minimum=0, help=f"hidden width of {of}, the number itself; {otherwise}")
    return needing(width, {"mlp": WITH_HIDDEN})


def mlp_ratio_option(also: Needs = _NOTHING) -> Any:
    """Declare the ratio of hidden width and dim; `also` is what it needs further."""
    return needing(
        ratio(
            "4",
            minimum="0.001",
            below="1000",
            help="hidden width of the MLP divided by dim: int(dim × ratio), as in timm; a "
            "fraction such as 32/3 is exact, a decimal is the nearest double",
        ),
        *({**needs, **also} for needs in _OF_RATIO),
    )


def mlp_multiple_option(also: Needs = _NOTHING) -> Any:
    """Declare what the hidden width is a multiple of; `also` is what it needs further."""
    return needing(
        whole(1, help="number to a multiple of which dim × mlp ratio is rounded up, as in LLaMA"),
        *({**needs, **also} for needs in _OF_RATIO),
    )


@dataclass(frozen=True, kw_only=True)
class MlpOptions(NormOptions):
    """The MLP of a model's blocks."""

    mlp_ratio: Fraction | float = mlp_ratio_option()
    mlp_hidden: int = mlp_hidden_option("0 for dim × mlp ratio")
    mlp_multiple: int = mlp_multiple_option()
    mlp: str = choice("plain", names=tuple(TYPES), help="MLP of a block")
    mlp_bias: bool = needing(
        flag(True, help="biases of the linear layers of the MLP"), {"mlp": _ANY}
    )
    mlp_conv: str = needing(
        choice(
            "none",
            names=tuple(CONVS),
            help="a depthwise 3 x 3 convolution on the grid of the tokens within the MLP, as in "
            "PVTv2, or one after a ReLU, as in its linear variant",
        ),
        {"mlp": ("plain",)},
    )
    mlp_norm: bool = needing(
        flag(False, help="a norm of the hidden channels of the MLP, as in EVA-02"),
        {"mlp": WITH_HIDDEN},
    )
    activation: str = activation_option("gelu")
    dropout: Fraction = ratio(
        "0",
        minimum="0",
        below="1",
        help="rate of dropout in training: after the mixer's output projection, and in the MLP "
        "after activation and output; not on attention weights or positions",
    )

    def hidden_width(self, dim: int, given: int) -> int:
        """Return `given`, or if it is 0 dim × mlp ratio, rounded down and then up to a multiple.

        Raises:
            SpecError: `dim` is a symbol and the ratio a decimal that is not exact.
        """
        if not isinstance(given, int) or given:  # an array or a symbol is not 0
            return given
        width, multiple = rounded_down(dim, self.mlp_ratio), self.mlp_multiple
        if isinstance(multiple, int) and multiple == 1:
            return width
        return (width + multiple - 1) // multiple * multiple

    def has_hidden(self, dim: int, given: int) -> Iterator[Constraint]:
        """Yield the rule that the MLP has a hidden channel; `given` is its width, or 0."""
        if self.mlp in WITH_HIDDEN:
            yield Constraint(
                self.hidden_width(dim, given) >= 1,
                lambda: (
                    f"mlp ratio {plain(self.mlp_ratio)} gives the MLP of dim {dim} no hidden "
                    f"channel; give a ratio of at least 1/{dim}"
                ),
            )

    @property
    def has_mlp_conv(self) -> bool:
        """True if the MLP of a block has a convolution."""
        return self.mlp == "plain" and self.mlp_conv != "none"

    def run_mlp(
        self, run: Run, x: Tensor, hidden: Size, grid: tuple[Size, Size] | None = None
    ) -> Tensor:
        """Run the MLP on (..., D) as the submodule `mlp`; `grid` is that of a block's tokens."""
        if grid is not None and self.has_mlp_conv:
            forward = partial(_conv, self, run, hidden, grid)
            return run.layer("mlp", "ConvMlp", forward, x)
        forward = partial(_FORWARDS[self.mlp], self, run, hidden)
        return run.layer("mlp", TYPES[self.mlp], forward, x)

    def drop(self, run: Run, name: str, x: Tensor) -> Tensor:
        """Run dropout if there is any."""
        return run.dropout(name, x) if self.dropout else x


def _plain(options: MlpOptions, run: Run, hidden: Size, x: Tensor) -> Tensor:
    D, bias = x.shape[-1], options.mlp_bias
    y = activate(run, options.activation, run.linear("fc1", x, hidden, bias=bias))
    y = options.drop(run, "drop1", y)
    if options.mlp_norm:
        y = options.normalise(run, "norm", y)
    y = run.linear("fc2", y, D, bias=bias)
    return options.drop(run, "drop2", y)


def _conv(
    options: MlpOptions, run: Run, hidden: Size, grid: tuple[Size, Size], x: Tensor
) -> Tensor:
    (B, N, D), bias = x.shape, options.mlp_bias
    y = run.linear("fc1", x, hidden, bias=bias)
    y = y.transpose(1, 2).unflatten(2, grid)
    for name in CONVS[options.mlp_conv]:
        y = run.activation(name, name, y)
    y = run.conv("conv", y, hidden, (Size(3), Size(3)), groups=hidden)
    y = activate(run, options.activation, y.reshape(B, hidden, N).transpose(1, 2))
    y = options.drop(run, "drop1", y)
    if options.mlp_norm:
        y = options.normalise(run, "norm", y)
    y = run.linear("fc2", y, D, bias=bias)
    return options.drop(run, "drop2", y)


def _gated(options: MlpOptions, run: Run, hidden: Size, x: Tensor) -> Tensor:
    D, bias = x.shape[-1], options.mlp_bias
    gate, value = run.linear("fc1", x, 2 * hidden, bias=bias).split((hidden, hidden), -1)
    gated = run.multiply("gate", activate(run, options.activation, gate), value)
    del gate, value
    gated = options.drop(run, "drop1", gated)
    if options.mlp_norm:
        gated = options.normalise(run, "norm", gated)
    y = run.linear("fc2", gated, D, bias=bias)
    del gated
    return options.drop(run, "drop2", y)


def _linear(options: MlpOptions, run: Run, hidden: Size, x: Tensor) -> Tensor:
    y = run.linear("fc1", x, x.shape[-1], bias=options.mlp_bias)
    y = activate(run, options.activation, y)
    return options.drop(run, "drop1", y)


_FORWARDS: dict[str, Callable[[MlpOptions, Run, Size, Tensor], Tensor]] = {
    "plain": _plain,
    "gated": _gated,
    "linear": _linear,
}
