"""Presets: published configurations with their sources and published figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vitprof.published.figures import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A published configuration of a model.

    Attributes:
        name: its name on the command line and in `PRESETS`.
        model: name of its model.
        mixer: name of its token mixer.
        options: values of the model's and the mixer's options other than the defaults.
        source: the paper, or the library.
        libraries: references of the same model in libraries, `timm:vit_small_patch16_224`.
        figures: its published counts.
        note: differences between the published model and the one built here.
    """

    name: str
    model: str
    mixer: str
    options: Mapping[str, object]
    source: str
    libraries: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    note: str = ""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Its names in the libraries, by which it is found too."""
        return tuple(reference.partition(":")[2] for reference in self.libraries)
