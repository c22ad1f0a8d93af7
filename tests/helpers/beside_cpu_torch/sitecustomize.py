"""Operators that torchvision of the package index expects, defined before it is imported.

The CPU build of torch does not bring them, so that `import torchvision` fails beside it. This
folder goes on PYTHONPATH of tests and of the documentation's commands, here only: where
torch and torchvision come from the same index, torchvision imports as it is.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class _Operators(MetaPathFinder):
    """Finder that finds nothing, but defines the operators when torchvision is looked for."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

            try:
                differ = version("torch").endswith("+cpu") and "+" not in version("torchvision")
            except PackageNotFoundError:
                return
            if differ:
                import torch  # noqa: PLC0415  # takes seconds, which only its users pay

                for name in ("nms", "qnms"):
                    torch.library.define(f"torchvision::{name}", _SCHEMA)


sys.meta_path.insert(0, _Operators())
