"""The models, one file each, and their registry."""

from __future__ import annotations

from vitprof.errors import SpecError, unknown
from vitprof.formulas.model import Model
from vitprof.formulas.models.classifier import Classifier
from vitprof.formulas.models.encoder_layer import EncoderLayer
from vitprof.formulas.models.mae import MaskedAutoencoder
from vitprof.formulas.models.pyramid import Pyramid

MODELS: dict[str, type[Model]] = {
    model.name: model for model in (MaskedAutoencoder, Classifier, Pyramid, EncoderLayer)
}


def find_model(name: str) -> type[Model]:
    """Return the model of this name.

    Raises:
        SpecError: there is no model of this name.
    """
    if not isinstance(name, str):
        raise SpecError(
            f"model is a name here, not of type {type(name).__name__}; give one, or the reference "
            "of a module in modules, such as ['file.py:factory']"
        )
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]
