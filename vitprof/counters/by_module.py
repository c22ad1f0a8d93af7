"""Counts by module, of tools that give only a running total or that count a module twice."""

from __future__ import annotations

from collections import Counter as Sums
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vitprof.formulas.layer import join

if TYPE_CHECKING:
    from torch import nn

AGAIN = "a shared module is counted at each of its places"


@contextmanager
def calls_of(
    module: nn.Module, enter: Callable[[str], object], leave: Callable[[str], object]
) -> Iterator[None]:
    """Tell in the body when a call of a module begins and ends.

    Args:
        module: the module around all that are told.
        enter: called with the path of the module at the begin of its call.
        leave: called with it at the end.
    """
    from torch.nn.modules import module as torch_module

    paths = {id(part): path for path, part in module.named_modules()}

    def begin(part: nn.Module, args: object) -> None:
        if id(part) in paths:
            enter(paths[id(part)])

    def end(part: nn.Module, args: object, output: object) -> None:
        if id(part) in paths:
            leave(paths[id(part)])

    handles = [
        torch_module.register_module_forward_pre_hook(begin),
        torch_module.register_module_forward_hook(end, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def counted_by_module(module: nn.Module, count: Callable[[], int]) -> Iterator[Sums[str]]:
    """Yield by how much a running count grows in the calls of each module, by path.

    Args:
        module: the module around all of them.
        count: returns the count until now.
    """
    grown: Sums[str] = Sums()
    before: list[int] = []

    def leave(path: str) -> None:
        grown[path] += count() - before.pop()

    with calls_of(module, lambda path: before.append(count()), leave):
        yield grown


def at_first_paths(
    module: nn.Module, by_path: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Part the counts of a tool that counts a shared module at each of its places.

    Args:
        module: the module.
        by_path: count of each module with everything below it, at every path.

    Returns:
        The counts at the first path of each module, and the others as `Reading.aside`.
    """
    first = {path for path, _ in module.named_modules()}
    again = {path: count for path, count in by_path.items() if path not in first}
    outermost = {
        path: count
        for path, count in again.items()
        if count and path.rpartition(".")[0] not in again
    }
    known = {path: count for path, count in by_path.items() if path in first}
    return known, {AGAIN: outermost} if outermost else {}


def visited(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that a recursion over `children` visits, shared ones again."""
    yield path, module
    for name, child in module.named_children():
        yield from visited(child, join(path, name))
