"""What a preset is: a published configuration, its source and its published figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vitprof.published.figures import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A published configuration to start from.

    Attributes:
        name: what it is called by.
        model: the name of its model.
        mixer: the name of its token mixer.
        options: values of the model's and the mixer's options that are not as usual.
        source: the paper, or the library.
        figures: what was published of its counts.
        note: where the published model differs from what is built here.
    """

    name: str
    model: str
    mixer: str
    options: Mapping[str, object]
    source: str
    figures: tuple[Figure, ...] = ()
    note: str = ""
