"""Properties that are computed once, for objects that do not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

Value = TypeVar("Value")


class derived(Generic[Value]):  # noqa: N801
    """A property that is computed once.

    It replaces `functools.cached_property`, which before Python 3.12 takes a lock that costs
    more time than most of these properties.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self.compute = compute
        self.name = compute.__name__
        self.__doc__ = compute.__doc__
        self.__isabstractmethod__ = getattr(compute, "__isabstractmethod__", False)

    @overload
    def __get__(self, owner: None, kind: type) -> derived[Value]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> Value: ...
    def __get__(self, owner: object, kind: type) -> derived[Value] | Value:
        if owner is None:
            return self
        # Of two threads that come first, the value of one is kept.
        value: Value = owner.__dict__.setdefault(self.name, self.compute(owner))
        return value
