"""Sources that several presets share; a file of a repository is cited at a commit."""

from __future__ import annotations


def _at(repository: str, file: str, commit: str) -> str:
    return f"{repository}, {file} at commit {commit}"


_MMPRETRAIN = "50da10d2a26c49ed5f6858ba918ef727bed97357"

VIT = "Dosovitskiy et al. 2020, An Image Is Worth 16x16 Words, table 1"
DEIT = "Touvron et al. 2020, Training data-efficient image transformers, table 1"
DEIT3 = _at(
    "facebookresearch/deit", "README_revenge.md", "7e160fe43f0252d17191b71cbb5826254114ea5b"
)
THREE_THINGS = (
    "Touvron et al. 2022, Three Things Everyone Should Know About Vision Transformers, section 3"
)
SCALING = "Zhai et al. 2021, Scaling Vision Transformers, table 2"
MAE = "He et al. 2021, Masked Autoencoders Are Scalable Vision Learners"
MAE_CODE = _at("facebookresearch/mae", "models_mae.py", "efb2a8062c206524e35e47d04501ed4f544c0ae8")
EVA = _at("open-mmlab/mmpretrain", "configs/eva/metafile.yml", _MMPRETRAIN)
XCIT_METAFILE = _at("open-mmlab/mmpretrain", "configs/xcit/metafile.yml", _MMPRETRAIN)
CAIT_README = _at(
    "facebookresearch/deit", "README_cait.md", "7e160fe43f0252d17191b71cbb5826254114ea5b"
)
# The commit with EVA-02, which is later than the others.
EVA02_FILE = _at(
    "open-mmlab/mmpretrain",
    "configs/eva02/metafile.yml",
    "ee7f2e88501f61aa95c742dd5f429f039935ee90",
)
BEIT_FILE = _at("open-mmlab/mmpretrain", "configs/beit/metafile.yml", _MMPRETRAIN)
MIXER = "Tolstikhin et al. 2021, MLP-Mixer, table 1"
RESMLP = "Touvron et al. 2021, ResMLP, table 3"
GMLP = "Liu et al. 2021, Pay Attention to MLPs, table 1"
RESMLP_README = _at(
    "facebookresearch/deit", "README_resmlp.md", "7e160fe43f0252d17191b71cbb5826254114ea5b"
)
GFNET = _at("raoyongming/GFNet", "README.md", "2de48b626ea805de82a7f389fed930af1ae0340d")
HTS_AT = "Chen et al. 2022, HTS-AT, table 1"
VIM = _at("hustvl/Vim", "README.md", "dd0358ad1e42701f22afbefa0717cc8825cf9f45")
VRWKV = _at("OpenGVLab/Vision-RWKV", "README.md", "0e0e38a6fd4475ae3817e14420ab85fab08d9097")
SWIN = "Liu et al. 2021, Swin Transformer: Hierarchical Vision Transformer using Shifted Windows"
SWIN_V2 = "Liu et al. 2022, Swin Transformer V2: Scaling Up Capacity and Resolution"
SWIN_README = _at(
    "microsoft/Swin-Transformer", "README.md", "005e8efa45795c351eb85b8107e49caf055a84c0"
)
POOLFORMER = "Yu et al. 2022, MetaFormer Is Actually What You Need for Vision, section 3"
POOLFORMER_README = _at(
    "sail-sg/poolformer", "README.md", "a075575b8b3dc3c76ecc5c49985d156167372bfa"
)
METAFORMER = "Yu et al. 2022, MetaFormer Baselines for Vision"
METAFORMER_README = _at(
    "sail-sg/metaformer", "README.md", "64c534ab8f65105fd21713b38e3393a449ca742d"
)
PVT_V2 = "Wang et al. 2021, PVT v2: Improved Baselines with Pyramid Vision Transformer, table 1"
PVT_README = _at(
    "whai362/PVT", "classification/README.md", "57e2dfaa5a46f9050d76f306a4fcd9a7c061f520"
)
CONVNEXT = "Liu et al. 2022, A ConvNet for the 2020s"
CONVNEXT_README = _at(
    "facebookresearch/ConvNeXt", "README.md", "048efcea897d999aed302f2639b6270aedf8d4c8"
)
TORCHVISION_SWIN = "torchvision 0.28.0, swin_transformer.py, num_params and _ops of the weights"
TORCHVISION_CONVNEXT = "torchvision 0.28.0, convnext.py, num_params and _ops of the weights"
TORCHVISION = "torchvision 0.28.0, vision_transformer.py, num_params and _ops of the weights"
TIMM_CSV_FUSED = _at(
    "huggingface/pytorch-image-models",
    "results/benchmark-infer-amp-nchw-pt210-cu121-rtx3090.csv",
    "aa4b5850c1543fa488abf260f18390eda46cf85d",
)
TIMM_CSV_240 = _at(
    "huggingface/pytorch-image-models",
    "results/benchmark-infer-amp-nchw-pt240-cu124-rtx3090.csv",
    "aa4b5850c1543fa488abf260f18390eda46cf85d",
)
TIMM_CSV_291 = _at(
    "huggingface/pytorch-image-models",
    "results/benchmark-infer-amp-nchw-pt291-cu128-4090.csv",
    "aa4b5850c1543fa488abf260f18390eda46cf85d",
)
# The last commit that has the table: ef570e266de6d6a8230bd90dc995a1df692e4283 removes it.
TIMM_CSV = _at(
    "huggingface/pytorch-image-models",
    "results/benchmark-infer-amp-nchw-pt112-cu113-rtx3090.csv",
    "c865028c34fc05cc7deea8e753b30d8cd1952591",
)


def timm(name: str) -> str:
    """Return the source of a parameter count: the sum over a model of timm."""
    return f"timm 1.0.31, {name}, its parameters added up"


def transformers(model: str) -> str:
    """Return the source of a parameter count: the sum over a model of transformers."""
    return f"transformers 4.57.1, {model}, its parameters added up"
