"""Paths of the submodules that run: forward by their calls, backward by the graph's functions.

Every function of autograd's graph has a sequence number. In the forward pass the numbers that
were given since the last call of a kernel belong to the submodule that runs; in the backward
pass the number of the function that runs leads back to it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks


class Paths:
    """Path of the submodule that runs; empty if it is not known.

    Attributes:
        outside: what runs if no submodule does: the loss, the optimizer.
    """

    def __init__(self) -> None:
        self.outside = ""
        self._names: dict[nn.Module, str] = {}
        self._parameters: dict[int, str] = {}
        self._running: list[str] = []
        self._ends: list[int] = []  # sequence numbers
        self._before: list[str] = []  # the submodule whose functions end there

    def name(self, root: nn.Module) -> None:
        """Take the paths from a module; a shared submodule has its first one."""
        for path, submodule in root.named_modules():
            self._names.setdefault(submodule, path)
        for path, parameter in root.named_parameters():
            self._parameters[id(parameter)] = path.rpartition(".")[0]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Follow calls of submodules in the body."""
        before = hooks.register_module_forward_pre_hook(self._enter)
        after = hooks.register_module_forward_hook(self._leave, always_call=True)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def _enter(self, module: nn.Module, *_: object) -> None:
        if module in self._names:
            self._running.append(self._names[module])

    def _leave(self, module: nn.Module, *_: object) -> None:
        if module in self._names:
            self._running.pop()

    def now(self) -> str:
        """Return the path of what runs, and book new functions of the graph under it."""
        if self._running:
            path = self._running[-1]
        else:
            node: Any = torch._C._current_autograd_node()
            path = self.outside if node is None else self._of_function(node)
        number = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]
        if not self._ends or self._ends[-1] < number:
            self._ends.append(number)
            self._before.append(path)
        return path

    def _of_function(self, node: Any) -> str:
        if hasattr(node, "variable"):  # accumulates the gradient of a parameter
            return self._parameters.get(id(node.variable), "")
        place = bisect_right(self._ends, node._sequence_nr())
        return self._before[place] if place < len(self._before) else ""
