"""Pooling of the tokens, and the head that reads what it returns.

token   the class token, or class and distillation token
both    the mean of class and distillation token (Gong et al. 2021, AST, by `ASTModel` of its code)
mean    the mean of the patches
map     attention pooling (Zhai et al. 2021, Scaling Vision Transformers, section 2.1, after
        Lee et al. 2019, Set Transformer, section 3.2), over the patches:
            q = z W_q + b             1 x D, of a learned z
            K, V = X W_kv + b         N x 2D
            y = (softmax(q K^T / sqrt(d)) V) W_proj + b, with h heads
            y + MLP(norm(y))          D
class   the class token, which is put before the tokens after the blocks and attends to all of them,
        `vitprof.formulas.parts.class_attention`
none    no pooling: all patches

The head is a linear layer, `head_bias` its bias; without it and with as many `classes` as channels
it is the projection of CLIP. With `head_norm`, a norm is before it. With `head_hidden`, a layer of
that width is between them, by `pre_logits`

tanh            tanh(y W + b)               (Dosovitskiy et al. 2020, section 3.1, at pre-training)
squared-relu    norm(relu(y W + b)^2)       (Yu et al. 2022, MetaFormer Baselines for Vision,
                                             `MlpHead` of its code)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from vitprof.formulas.parts.activations import activate
from vitprof.formulas.parts.class_attention import ClassAttentionOptions
from vitprof.formulas.parts.norms import NormOptions
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.options import Constraint, choice, flag, needing, whole
from vitprof.values.size import ONE, Size


@dataclass(slots=True)
class Pooled:
    """Sizes that a pooling works at; immutable by convention.

    Attributes:
        patches: number of patches, behind the prefix tokens.
        prefix: number of prefix tokens.
        heads: heads of an attention pooling.
        hidden: hidden width of its MLP.
    """

    patches: Size
    prefix: int
    heads: Size
    hidden: Size


def classes_option(default: int) -> Any:
    """Declare a number of classes."""
    return whole(default, symbol="classes", help="number of classes", grows=1_024, convex=True)


@dataclass(frozen=True, kw_only=True)
class LogitOptions(NormOptions):
    """The head of a classifier."""

    head: bool = flag(True, help="linear layer that returns the logits")
    head_bias: bool = needing(flag(True, help="bias of the head"), {"head": (True,)})
    head_hidden: int = needing(
        whole(0, minimum=0, help="width of a linear layer before the head; 0 for none"),
        {"head": (True,)},
    )
    pre_logits: str = needing(
        choice(
            "tanh",
            names=("tanh", "squared-relu"),
            help="what follows that layer: tanh, as in ViT, or a squared ReLU and a norm, as in "
            "ConvFormer",
        ),
        {"head": (True,)},
    )
    classes: int = needing(classes_option(10), {"head": (True,)})

    def constraints(self) -> Iterator[Constraint]:
        yield Constraint(
            self.pre_logits == "tanh" or self.head_hidden != 0,
            lambda: (
                f"pre logits {self.pre_logits} follows a layer before the head, and head hidden 0 "
                "has none; give head hidden with it"
            ),
        )
        yield from super().constraints()

    def run_head(self, run: Run, x: Tensor) -> Tensor:
        """Run the head, if there is one, on what the pooling returns: (B, D) to (B, classes)."""
        if not self.head:
            return x
        x = self.before_head(run, x)
        return self.logits(run, "head", x)

    def before_head(self, run: Run, x: Tensor) -> Tensor:
        """Run the linear layer before the head and what follows it, if they are."""
        if not self.head_hidden:
            return x
        hidden = Size(self.head_hidden, "head hidden")
        x = run.linear("pre_logits", x, hidden)
        if self.pre_logits == "tanh":
            return run.activation("head_act", "tanh", x)
        x = activate(run, self.pre_logits, x, "head_act")
        return self.normalise_last(run, "hidden_norm", x)

    def normalise_last(self, run: Run, name: str, x: Tensor) -> Tensor:
        """Run a norm after the last block."""
        return self.normalise(run, name, x)

    def logits(self, run: Run, name: str, x: Tensor) -> Tensor:
        """Run a linear layer on (B, D): (B, classes)."""
        return run.linear(name, x, self.size("classes"), bias=self.head_bias)


@dataclass(frozen=True, kw_only=True)
class HeadOptions(LogitOptions, ClassAttentionOptions):
    """Pooling and head of a classifier of tokens."""

    pool: str = choice(
        "token",
        names=("token", "both", "mean", "map", "class", "none"),
        help="input of the head: the class token, the mean of class and distillation token (AST), "
        "the mean of the patches, attention pooling of the patches (the MAP head of SigLIP), a "
        "class token that is put before the tokens after the blocks (class attention, as in CaiT "
        "and XCiT), or no pooling",
    )
    pool_fused: bool = needing(
        flag(False, help="scaled_dot_product_attention in the attention pooling"),
        {"pool": ("map",)},
    )
    distillation: bool = flag(False, help="distillation token with a second head")
    head_norm: bool = needing(
        flag(False, help="a norm right before the head, as in AST"), {"head": (True,)}
    )

    def constraints(self) -> Iterator[Constraint]:
        yield Constraint(
            not (self.distillation and self.pool != "token"),
            lambda: (
                f"distillation needs a class token in the blocks, and pool {self.pool} has none; "
                "give pool token with it"
            ),
        )
        yield Constraint(
            not (self.head and self.pool == "none"),
            lambda: (
                "pool none returns all patches, which the head cannot classify; give --no-head "
                "with it"
            ),
        )
        yield from super().constraints()

    @property
    def pooled_tokens(self) -> int:
        """Number of prefix tokens that the pooling reads: class and distillation token."""
        if self.pool == "both":
            return 2
        return 0 if self.pool != "token" else 2 if self.distillation else 1

    def run_pool(self, run: Run, x: Tensor, sizes: Pooled) -> Tensor:
        """Pool (B, N, D) to (B, D), to (B, 2, D) with distillation, or to all patches."""
        return _POOLS[self.pool](self, run, x, sizes)

    def run_head(self, run: Run, x: Tensor) -> Tensor:
        """Run the head on what the pooling returns: (B, D), or (B, 2, D), to (B, classes)."""
        if not self.head:
            return x
        if self.head_norm:
            x = self.normalise(run, "head_norm", x)
        x = self.before_head(run, x)
        if not self.distillation:
            return self.logits(run, "head", x)
        cls, dist = x.unbind(1)
        cls = self.logits(run, "head", cls)
        dist = self.logits(run, "head_dist", dist)
        return run.scale("mean_of_heads", run.add("both_heads", cls, dist))


def _token(options: HeadOptions, run: Run, x: Tensor, sizes: Pooled) -> Tensor:
    if not options.distillation:
        return x[:, 0]
    return x[:, : Size(options.pooled_tokens, "prefix tokens")]


def _both(options: HeadOptions, run: Run, x: Tensor, sizes: Pooled) -> Tensor:
    return run.mean("pool", x[:, : Size(options.pooled_tokens, "prefix tokens")], 1)


def _mean(options: HeadOptions, run: Run, x: Tensor, sizes: Pooled) -> Tensor:
    return run.mean("pool", _patches(options, run, x, sizes), 1)


def _map(options: HeadOptions, run: Run, x: Tensor, sizes: Pooled) -> Tensor:
    forward = partial(_attention_pool, options, run, sizes)
    return run.layer("attn_pool", "AttentionPool", forward, _patches(options, run, x, sizes))


def _patches(options: HeadOptions, run: Run, x: Tensor, sizes: Pooled) -> Tensor:
    return x.narrow(1, sizes.prefix, sizes.patches) if sizes.prefix else x


def _attention_pool(options: HeadOptions, run: Run, sizes: Pooled, x: Tensor) -> Tensor:
    (B, N, D), h = x.shape, sizes.heads
    d = (D // h).named("head dim")
    latent = run.parameter("latent", ONE, ONE, D).expand(B, ONE, D).clone()
    q = run.linear("q", latent, D).reshape(B, ONE, h, d).transpose(1, 2)
    k, v = run.linear("kv", x, 2 * D).reshape(B, N, 2, h, d).permute(2, 0, 3, 1, 4).unbind(0)
    if options.pool_fused:
        found = run.attention("attend", q, k, v)
    else:
        a = run.softmax("weights", run.matmul("scores", run.scale("scale", q), k.mT), -1)
        found = run.matmul("output", a, v)
    y = run.linear("proj", found.transpose(1, 2).reshape(B, ONE, D), D)
    if options.mlp != "none":
        z = options.normalise(run, "norm", y)
        y = run.add("residual", y, options.run_mlp(run, z, sizes.hidden))
    return y[:, 0]


_POOLS: dict[str, Callable[[HeadOptions, Run, Tensor, Pooled], Tensor]] = {
    "token": _token,
    "both": _both,
    "mean": _mean,
    "map": _map,
    "class": _token,
    "none": _patches,
}
