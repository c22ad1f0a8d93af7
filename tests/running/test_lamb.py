"""LAMB against its algorithm in plain numbers (You et al. 2020, algorithm 2)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vitprof.running.lamb import Lamb

ETA, BETA1, BETA2, EPS, DECAY = 0.1, 0.9, 0.99, 1e-6, 0.02


def norm(numbers: list[float]) -> float:
    return math.sqrt(sum(number**2 for number in numbers))


def by_hand(x: list[float], gradients: list[list[float]]) -> list[float]:
    m, v = [0.0] * len(x), [0.0] * len(x)
    for step, g in enumerate(gradients, start=1):
        m = [BETA1 * a + (1 - BETA1) * b for a, b in zip(m, g, strict=True)]
        v = [BETA2 * a + (1 - BETA2) * b * b for a, b in zip(v, g, strict=True)]
        r = [
            a / (1 - BETA1**step) / (math.sqrt(b / (1 - BETA2**step)) + EPS) + DECAY * c
            for a, b, c in zip(m, v, x, strict=True)
        ]
        ratio = norm(x) / norm(r) if norm(x) and norm(r) else 1.0
        x = [a - ETA * ratio * b for a, b in zip(x, r, strict=True)]
    return x


@pytest.mark.parametrize("start", [[0.3, -2.0, 5.0], [0.0, 0.0, 0.0]])
def test_three_steps(start: list[float]) -> None:
    gradients = [[1.0, -0.5, 0.25], [0.5, 0.5, -4.0], [-1.0, 2.0, 0.125]]
    x = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    unused = nn.Parameter(torch.ones(2))
    lamb = Lamb([x, unused], lr=ETA, betas=(BETA1, BETA2), eps=EPS, weight_decay=DECAY)
    for gradient in gradients:
        x.grad = torch.tensor(gradient, dtype=torch.float64)
        lamb.step()
    assert x.tolist() == pytest.approx(by_hand(start, gradients), rel=1e-12)
    assert unused.tolist() == [1.0, 1.0]
