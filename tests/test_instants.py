"""The memory of a step at every instant, not only at its peaks: on paper as in the trace.

Of one encoder layer. A masked autoencoder's shuffling, a loss in mixed precision and some mixers
allocate small tensors, at instants that are no peak, which the paper does not follow.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import pytest
from spellings import SPELLINGS, Spelling

from vitprof.eager.account import Account
from vitprof.eager.step import peak_bytes
from vitprof.modules import trace as tracing
from vitprof.workload import Workload

Instants = dict[str, list[int]]  # by phase: what is held after each allocation

NOT_AT_EVERY_INSTANT = ("lambda", "performer", "nystrom", "linformer", "window")
EXACT = [
    spelling
    for spelling in SPELLINGS
    if spelling.model == "layer"
    and spelling.mixer not in NOT_AT_EVERY_INSTANT
    and not {("patch_interaction", True), ("fused", True)} & {*spelling.variant}
]
WORKLOADS = [
    Workload(batch=2),
    Workload(batch=2, dtype="bf16"),
    Workload(batch=2, device="cpu", dtype="bf16", autocast=True),
]


def on_paper(monkeypatch: pytest.MonkeyPatch, spelling: Spelling, workload: Workload) -> Instants:
    found: Instants = defaultdict(list)
    look = Account._look

    def looks(self: Account) -> None:
        if self._phase:
            found[self._phase].append(sum(self.by_kind.values()))
        look(self)

    monkeypatch.setattr(Account, "_look", looks)
    peak_bytes(spelling.specify(), workload)
    return found


def traced(monkeypatch: pytest.MonkeyPatch, spelling: Spelling, workload: Workload) -> Instants:
    found: Instants = defaultdict(list)
    book, phase = tracing._Ledger._book, tracing._Ledger.phase

    def books(self: tracing._Ledger, size: int) -> None:
        book(self, size)
        if self._phase:
            found[self._phase].append(self._bytes)

    def begins(self: tracing._Ledger, name: str) -> object:
        found[name].clear()  # of the first step, which has no states of the optimizer yet
        return phase(self, name)

    monkeypatch.setattr(tracing._Ledger, "_book", books)
    monkeypatch.setattr(tracing._Ledger, "phase", begins)
    tracing.trace(spelling.specify(), workload)
    return found


@pytest.mark.parametrize(
    ("workload", "spelling"),
    [*product(WORKLOADS, EXACT)],
    ids=str,
)
def test_every_instant_is_as_traced(
    monkeypatch: pytest.MonkeyPatch, workload: Workload, spelling: Spelling
) -> None:
    paper, trace = (of(monkeypatch, spelling, workload) for of in (on_paper, traced))
    for phase in paper.keys() - {"optimizer"}:
        assert paper[phase] == trace[phase], phase
