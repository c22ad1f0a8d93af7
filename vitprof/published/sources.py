"""Sources that several presets share."""

from __future__ import annotations

VIT = "Dosovitskiy et al. 2020, An Image Is Worth 16x16 Words, table 1"
DEIT = "Touvron et al. 2020, Training data-efficient image transformers, table 1"
DEIT3 = "facebookresearch/deit, README_revenge.md"
SCALING = "Zhai et al. 2021, Scaling Vision Transformers, table 2"
MAE = "He et al. 2021, Masked Autoencoders Are Scalable Vision Learners"
MIXER = "Tolstikhin et al. 2021, MLP-Mixer, table 1"
RESMLP = "Touvron et al. 2021, ResMLP, table 3"
GMLP = "Liu et al. 2021, Pay Attention to MLPs, table 1"
GFNET = "raoyongming/GFNet, README.md"
TORCHVISION = "torchvision, vision_transformer.py, num_params and _ops of the weights"
TIMM_CSV = "timm, results/benchmark-infer-amp-nchw-pt112-cu113-rtx3090.csv"


def timm(name: str) -> str:
    """Return the source of a parameter count: the sum over a model of timm."""
    return f"timm 1.0.31, {name}, its parameters added up"
