"""Class attention: layers after the blocks, in which a class token reads all tokens.

The class token z is put before the tokens X, u = [z; X], only here, so that the blocks see patches
alone (Touvron et al. 2021, Going Deeper with Image Transformers, section 3.2, eqs. 5 to 8):

q = z W_q + b                                 1 x D
K, V = u W_k + b, u W_v + b                   (1 + N) x D each
CA(u) = (softmax(q K^T / sqrt(d)) V) W_proj + b, with h heads

A layer is one of

cait   z = z + CA(norm(u))                    and u = [z; X] again
       z = z + MLP(norm(z))
xcit   u = u + [CA(norm(u)); norm(X)]         all tokens are changed (El-Nouby et al. 2021, XCiT, by
       u = norm(u)                            `ClassAttentionBlock` of its code)
       u = u + [MLP(z); X]

The second norm of `xcit` is of all tokens, or without `class_norm_all` of z alone. With layer
scale, each branch has a gain per channel: the whole first one of `xcit`, but only the MLP of its
second. Dropout is that of a block; as in the code of both papers, stochastic depth is not in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from vitprof.formulas.parts.mlps import MlpOptions
from vitprof.formulas.run import Forward, Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import choice, flag, needing, whole
from vitprof.values.size import ONE, Size


@dataclass(slots=True)
class ClassLayer:
    """Sizes of a layer of class attention; immutable by convention.

    Attributes:
        heads: its heads.
        hidden: hidden width of its MLP.
        scaled: True if each branch has a learned gain per channel.
    """

    heads: Size
    hidden: Size
    scaled: bool


@dataclass(frozen=True, kw_only=True)
class ClassAttentionOptions(MlpOptions):
    """Layers of class attention."""

    class_layers: int = needing(
        whole(
            2,
            symbol="class layers",
            maximum=10_000,
            help="layers of class attention",
            grows=1_024,
            convex=True,
        ),
        {"pool": ("class",)},
    )
    class_layer: str = needing(
        choice(
            "cait",
            names=("cait", "xcit"),
            help="layer of class attention: of CaiT, which changes the class token alone, or of "
            "XCiT, which changes all tokens",
        ),
        {"pool": ("class",)},
    )
    class_norm_all: bool = needing(
        flag(
            True,
            help="second norm of a layer of class attention on all tokens, not on the class token "
            "alone",
        ),
        {"pool": ("class",), "class_layer": ("xcit",)},
    )
    class_fused: bool = needing(
        flag(False, help="scaled_dot_product_attention in class attention"), {"pool": ("class",)}
    )

    def class_blocks(self, run: Run, sizes: ClassLayer) -> Iterator[Forward[Tensor]]:
        """Yield one forward that represents all layers, for a loop over their module list.

        It runs on (B, 1 + N, D), the class token first, and returns the same.
        """
        forward = partial(_LAYERS[self.class_layer], self, run, sizes)
        layers = self.size("class_layers")
        return run.blocks("class_blocks", layers, "ClassAttentionLayer", forward)


def _cait(options: ClassAttentionOptions, run: Run, sizes: ClassLayer, u: Tensor) -> Tensor:
    cls = u[:, :1]
    y = _attended(options, run, sizes, options.normalise(run, "norm1", u))
    y = options.drop(run, "proj_drop", y)
    y = _scaled(run, sizes, "ls1", y)
    cls = run.add("residual1", cls, y)
    del y
    if options.mlp != "none":
        y = options.run_mlp(run, options.normalise(run, "norm2", cls), sizes.hidden)
        y = _scaled(run, sizes, "ls2", y)
        cls = run.add("residual2", cls, y)
        del y
    return run.cat([cls, u[:, 1:]], 1, u.shape[1])


def _xcit(options: ClassAttentionOptions, run: Run, sizes: ClassLayer, u: Tensor) -> Tensor:
    N = u.shape[1]
    y = options.normalise(run, "norm1", u)
    y = run.cat([options.drop(run, "proj_drop", _attended(options, run, sizes, y)), y[:, 1:]], 1, N)
    u = run.add("residual1", u, _scaled(run, sizes, "ls1", y))
    del y
    if options.mlp == "none":
        return u
    if options.class_norm_all:
        u = options.normalise(run, "norm2", u)
    else:
        u = run.cat([options.normalise(run, "norm2", u[:, :1]), u[:, 1:]], 1, N)
    y = _scaled(run, sizes, "ls2", options.run_mlp(run, u[:, :1], sizes.hidden))
    return run.add("residual2", u, run.cat([y, u[:, 1:]], 1, N))


_LAYERS: dict[str, Callable[[ClassAttentionOptions, Run, ClassLayer, Tensor], Tensor]] = {
    "cait": _cait,
    "xcit": _xcit,
}


def _attended(options: ClassAttentionOptions, run: Run, sizes: ClassLayer, u: Tensor) -> Tensor:
    return run.layer("attn", "ClassAttention", partial(_attend, options, run, sizes.heads), u)


def _scaled(run: Run, sizes: ClassLayer, name: str, x: Tensor) -> Tensor:
    return run.layer_scale(name, x) if sizes.scaled else x


def _attend(options: ClassAttentionOptions, run: Run, h: Size, u: Tensor) -> Tensor:
    B, N, D = u.shape
    d = (D // h).named("head dim")
    q = run.linear("q", u[:, 0], D).reshape(B, ONE, h, d).transpose(1, 2)
    k = run.linear("k", u, D).reshape(B, N, h, d).transpose(1, 2)
    v = run.linear("v", u, D).reshape(B, N, h, d).transpose(1, 2)
    if options.class_fused:
        y = run.attention("attend", q, k, v)
    else:
        a = run.softmax("weights", run.matmul("scores", run.scale("scale", q), k.mT), -1)
        y = run.matmul("output", a, v)
    return run.linear("proj", y.transpose(1, 2).reshape(B, ONE, D), D)
