"""LAMB (You et al. 2020, algorithm 2): Adam with a trust ratio per parameter.

    m ← β1 m + (1 - β1) g, v ← β2 v + (1 - β2) g²
    r = m / (1 - β1^t) / (sqrt(v / (1 - β2^t)) + ε) + λ x
    x ← x - η ‖x‖ / ‖r‖ r

If a norm is 0 the ratio is 1, as in other implementations; gradients are not clipped here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn


class Lamb(torch.optim.Optimizer):
    """LAMB in plain tensor functions, parameter by parameter.

    Args:
        parameters: parameters that are trained.
        lr: η.
        betas: β1 and β2.
        eps: ε.
        weight_decay: λ.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for x in group["params"]:
                if x.grad is None:
                    continue
                state = self.state[x]
                if not state:
                    state |= {"step": 0, "m": torch.zeros_like(x), "v": torch.zeros_like(x)}
                state["step"] += 1
                _update(x, x.grad, group, **state)
        return loss


def _update(
    x: Tensor, grad: Tensor, group: dict[str, Any], *, step: int, m: Tensor, v: Tensor
) -> None:
    beta1, beta2 = group["betas"]
    m.lerp_(grad, 1 - beta1)
    v.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    denominator = (v.sqrt() / (1 - beta2**step) ** 0.5).add_(group["eps"])
    r = (m / (1 - beta1**step)).div_(denominator)
    r.add_(x, alpha=group["weight_decay"])
    r.mul_(_trust_ratio(x, r))
    x.add_(r, alpha=-group["lr"])


def _trust_ratio(x: Tensor, r: Tensor) -> Tensor:
    of_x, of_r = x.norm(2.0), r.norm(2.0)
    return torch.where((of_x > 0) & (of_r > 0), of_x / of_r, 1.0)
