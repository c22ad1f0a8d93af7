"""One encoder block: token mixer and MLP, with norms and residuals.

The arrangement is one of

pre        X = X + Mixer(norm(X))             (Dosovitskiy et al. 2020, eqs. 2 and 3)
           X = X + MLP(norm(X))
post       X = norm(X + Mixer(X))             (Vaswani et al. 2017, section 3.1)
           X = norm(X + MLP(X))
parallel   X = X + Mixer(norm(X)) + MLP(norm(X)), one norm for both
                                              (Dehghani et al. 2023, ViT-22B, section 2.1)
single     X = X + MLP(norm(Mixer(norm(X))))  (Rao et al. 2021, GFNet)
conv       X = X + norm(act(Mixer(X)))        (Trockman and Kolter 2022, ConvMixer)
           X = norm(MLP(X))

With `layer_scale`, each branch is multiplied by a learned gain per channel before the sum
(Touvron et al. 2021, Going Deeper with Image Transformers, eq. 4). In training, `dropout` drops
elements after the mixer and after each linear layer of the MLP with its activation or gate, and
`drop_path` the branch of a sample as a whole (Huang et al. 2016, Deep Networks with Stochastic
Depth). The MLP is one of

plain      act(X W_1 + b_1) W_2 + b_2, D -> hidden -> D
gated      (act(G) * V) W_2 + b_2, with G, V = X W_1 + b_1 of `hidden` channels each
           (Shazeer 2020, GLU Variants Improve Transformer, eq. 6, with biases)
linear     act(X W_1 + b_1), D -> D
none       no MLP, and no norm for it

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

from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.run import ACTIVATIONS as ALL
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import (
    Constraint,
    Needs,
    Options,
    choice,
    divides,
    flag,
    needing,
    plain,
    ratio,
    whole,
)
from vitprof.values.ratios import rounded_down
from vitprof.values.size import Size

ACTIVATIONS = {name: ALL[name][1] for name in ("gelu", "relu", "silu")}  # -> class in torch.nn
NORMS: dict[str, Callable[[Run, str, Tensor], Tensor]] = {
    "layer": Run.layer_norm,
    "rms": Run.rms_norm,
    "affine": Run.affine,
    "batch": Run.token_batch_norm,
}
_HIDDEN = ("plain", "gated")  # MLPs with a hidden width
_OF_RATIO: tuple[Needs, ...] = (  # one of the model's hidden widths follows from the ratio
    {"mlp": _HIDDEN, "mlp_hidden": (0,)},
    {"mlp": _HIDDEN, "decoder_mlp_hidden": (0,)},
)
BLOCKS = ("pre", "post", "parallel", "single", "conv")
MLPS = {"plain": "Mlp", "gated": "GatedLinearUnit", "linear": "Pointwise", "none": ""}  # -> class


def activation_option(default: str, *others: Needs) -> Any:
    """Declare the MLP's activation; `others` are alternatives in which another part uses it."""
    return needing(
        choice(default, names=tuple(ACTIVATIONS), help="activation of the MLP"),
        {"mlp": ("plain", "gated", "linear")},
        {"block": ("conv",)},
        *others,
    )


def mlp_hidden_option(otherwise: str, of: str = "the MLP") -> Any:
    """Declare a hidden width, 0 if it follows from others."""
    width = whole(0, minimum=0, help=f"hidden width of {of}, the number itself; {otherwise}")
    return needing(width, {"mlp": _HIDDEN})


@dataclass(frozen=True, kw_only=True)
class BlockOptions(Options):
    """Options of a model's blocks, except their mixer."""

    mlp_ratio: Fraction | float = needing(
        ratio(
            "4",
            minimum="0.001",
            below="1000",
            help="hidden width of the MLP divided by dim: int(dim × ratio), as in timm; a "
            "fraction such as 32/3 is exact, a decimal is the nearest double",
        ),
        *_OF_RATIO,
    )
    mlp_hidden: int = mlp_hidden_option("0 for dim × mlp ratio")
    mlp_multiple: int = needing(
        whole(1, help="number to a multiple of which dim × mlp ratio is rounded up, as in LLaMA"),
        *_OF_RATIO,
    )
    mlp: str = choice("plain", names=tuple(MLPS), help="MLP of a block")
    activation: str = activation_option("gelu")
    block: str = choice("pre", names=BLOCKS, help="arrangement of norms and residuals in a block")
    norm: str = choice("layer", names=tuple(NORMS), help="norm in the blocks and before the head")
    layer_scale: bool = flag(False, help="learned gain per channel on each residual branch")
    dropout: Fraction = ratio(
        "0",
        minimum="0",
        below="1",
        help="rate of dropout in training: after the mixer's output projection, and in the MLP "
        "after activation and output; not on attention weights or positions",
    )
    drop_path: Fraction = ratio(
        "0",
        minimum="0",
        below="1",
        help="rate of stochastic depth in training: residual branches dropped per sample, "
        "with the same rate in every block",
    )

    def of_blocks(self) -> tuple[object, ...]:
        """Return the options that a block's ops depend on, except the width of its MLP."""
        return (
            *(self.mlp, self.activation, self.block, self.norm, self.layer_scale),
            *(self.dropout, self.drop_path),
        )

    def normalise(self, run: Run, name: str, x: Tensor) -> Tensor:
        """Run the norm that `norm` selects on the last axis."""
        return NORMS[self.norm](run, name, x)

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

    def fits(
        self, dim_name: str, dim: int, heads_name: str, heads: int, hidden: int
    ) -> Iterator[Constraint]:
        """Yield the rules that heads divide the dim and that the MLP has a hidden channel.

        `hidden` is the width that is given for the MLP, or 0.
        """
        yield divides(dim_name, dim, heads_name, heads)
        if self.mlp in _HIDDEN:
            yield Constraint(
                self.hidden_width(dim, hidden) >= 1,
                lambda: (
                    f"mlp ratio {plain(self.mlp_ratio)} gives the MLP of dim {dim} no hidden "
                    f"channel; give a ratio of at least 1/{dim}"
                ),
            )


@dataclass(slots=True, kw_only=True)
class Block:
    """A block at the given sizes; immutable by convention.

    Attributes:
        sizes: N, D and heads.
        mixer: its token mixer.
        options: its other options.
        given_hidden: hidden width that is given for its MLP; 0 if it follows from the dim.
    """

    sizes: MixerSizes
    mixer: Mixer
    options: BlockOptions
    given_hidden: int

    @property
    def hidden(self) -> int:
        """Hidden width of the MLP."""
        return self.options.hidden_width(self.sizes.dim.value, self.given_hidden)

    def forward(self, run: Run, x: Tensor) -> Tensor:
        """Run the block's ops on (B, N, D)."""
        return run.block(partial(self._forward, run), x)

    def _forward(self, run: Run, x: Tensor) -> Tensor:
        arranged: Tensor = _ARRANGEMENTS[self.options.block](self, run, x)
        return arranged

    def _pre(self, run: Run, x: Tensor) -> Tensor:
        x = self._add(run, 1, x, self._mixer(run, self._norm(run, 1, x)))
        if self.options.mlp == "none":
            return x
        return self._add(run, 2, x, self._mlp(run, self._norm(run, 2, x)))

    def _post(self, run: Run, x: Tensor) -> Tensor:
        x = self._norm(run, 1, self._add(run, 1, x, self._mixer(run, x)))
        if self.options.mlp == "none":
            return x
        return self._norm(run, 2, self._add(run, 2, x, self._mlp(run, x)))

    def _parallel(self, run: Run, x: Tensor) -> Tensor:
        normalised = self._norm(run, 1, x)
        x = self._add(run, 1, x, self._mixer(run, normalised))
        if self.options.mlp == "none":
            return x
        return self._add(run, 2, x, self._mlp(run, normalised))

    def _single(self, run: Run, x: Tensor) -> Tensor:
        y = self._mixer(run, self._norm(run, 1, x))
        if self.options.mlp != "none":
            y = self._mlp(run, self._norm(run, 2, y))
        return self._add(run, 1, x, y)

    def _conv(self, run: Run, x: Tensor) -> Tensor:
        x = self._add(run, 1, x, self._norm(run, 1, self._act(run, self._mixer(run, x))))
        return x if self.options.mlp == "none" else self._norm(run, 2, self._mlp(run, x))

    def _norm(self, run: Run, place: int, x: Tensor) -> Tensor:
        return self.options.normalise(run, f"norm{place}", x)

    def _add(self, run: Run, place: int, x: Tensor, branch: Tensor) -> Tensor:
        """Add the branch, with layer scale and drop path if there are any, to the residual."""
        if self.options.layer_scale:
            branch = run.layer_scale(f"ls{place}", branch)
        if self.options.drop_path:
            branch = run.drop_path(f"drop_path{place}", branch)
        return run.add(f"residual{place}", x, branch)

    def _act(self, run: Run, x: Tensor) -> Tensor:
        return run.activation("act", self.options.activation, x)

    def _drop(self, run: Run, name: str, x: Tensor) -> Tensor:
        return run.dropout(name, x) if self.options.dropout else x

    def _mixer(self, run: Run, x: Tensor) -> Tensor:
        def mixer(x: Tensor) -> Tensor:
            return self.mixer.mix(run, x, self.sizes)

        y = run.layer("mixer", self.mixer.type(), mixer, x)
        return self._drop(run, "proj_drop", y)

    def _mlp(self, run: Run, x: Tensor) -> Tensor:
        kind = self.options.mlp
        return run.layer("mlp", MLPS[kind], partial(_MLPS[kind], self, run), x)

    def _plain(self, run: Run, x: Tensor) -> Tensor:
        H = Size(self.hidden, "hidden")
        y = self._drop(run, "drop1", self._act(run, run.linear("fc1", x, H)))
        y = run.linear("fc2", y, self.sizes.dim)
        return self._drop(run, "drop2", y)

    def _gated(self, run: Run, x: Tensor) -> Tensor:
        H = Size(self.hidden, "hidden")
        gate, value = run.linear("fc1", x, 2 * H).split((H, H), -1)
        gated = run.multiply("gate", self._act(run, gate), value)
        del gate, value
        gated = self._drop(run, "drop1", gated)
        y = run.linear("fc2", gated, self.sizes.dim)
        del gated
        return self._drop(run, "drop2", y)

    def _linear(self, run: Run, x: Tensor) -> Tensor:
        return self._drop(run, "drop1", self._act(run, run.linear("fc1", x, self.sizes.dim)))


_ARRANGEMENTS = {
    "pre": Block._pre,
    "post": Block._post,
    "parallel": Block._parallel,
    "single": Block._single,
    "conv": Block._conv,
}
_MLPS = {"plain": Block._plain, "gated": Block._gated, "linear": Block._linear}
