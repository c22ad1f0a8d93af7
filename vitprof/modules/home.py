"""Homes of classes: the module that defines the class of a submodule."""

from __future__ import annotations

from torch import nn


def home_of(module: nn.Module) -> str:
    """Return the name of the module that defines a class; empty if it is that of `torch.nn`.

    Tools that know classes of `torch.nn` count neither subclasses nor other classes of that name.
    """
    own = type(module)
    return "" if getattr(nn, own.__name__, None) is own else own.__module__
