"""Sources of modules in libraries and in a user's code: built, resized, listed, refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from vitprof.captured.libraries import base, find_names, find_source
from vitprof.captured.source import Input, Source
from vitprof.errors import SpecError

Capture = pytest.CaptureFixture[str]
TINY = ["hidden_size=24", "num_attention_heads=3", "num_hidden_layers=1", "intermediate_size=40"]
# Patches, class token, positions, a block, the norm and the pooler.
TINY_WEIGHTS = (
    (3 * 16 * 16 * 24 + 24)
    + 24
    + (14 * 14 + 1) * 24
    + (4 * (24 * 24 + 24) + 24 * 40 + 40 + 40 * 24 + 24 + 2 * 2 * 24)
    + 2 * 24
    + (24 * 24 + 24)
)


def built(source: Source) -> nn.Module:
    with torch.device("meta"):
        return source.build()


def weights(source: Source) -> int:
    return sum(parameter.numel() for parameter in built(source).parameters())


def axes(source: Source | None) -> dict[str, tuple[int | str, ...]]:
    assert source is not None
    return {one.name: one.axes for one in source.inputs}


# What is known of each library's models.


@pytest.mark.parametrize(
    ("reference", "args", "inputs"),
    [
        ("timm:vit_tiny_patch16_224", [], {"": ("B", 3, 224, 224)}),
        ("timm:vit_tiny_patch16_384", [], {"": ("B", 3, 384, 384)}),
        ("timm:vit_tiny_patch16_224", ["img_size=96"], {"": ("B", 3, 96, 96)}),
        ("timm:resnet18", ["img_size=96,64", "in_chans=1"], {"": ("B", 1, 96, 64)}),
        # It has no pretrained weights.
        ("timm:vit_xsmall_patch16_clip_224", [], {"": ("B", 3, 224, 224)}),
        ("torchvision:resnet18", [], {"": ("B", 3, 224, 224)}),
        ("torchvision:inception_v3", [], {"": ("B", 3, 299, 299)}),
        ("torchvision:deeplabv3_resnet50", [], {"": ("B", 3, 520, 520)}),
        ("torchvision:vit_b_16", ["image_size=96"], {"": ("B", 3, 96, 96)}),
        ("torchvision:r3d_18", [], {"": ("B", 3, 16, 112, 112)}),
        ("torchvision:mvit_v1_b", ["temporal_size=8"], {"": ("B", 3, 8, 224, 224)}),
        ("transformers:ViTModel", [], {"pixel_values": ("B", 3, 224, 224)}),
        (
            "transformers:ViTModel",
            ["image_size=96,64", "num_channels=1"],
            {"pixel_values": ("B", 1, 96, 64)},
        ),
        ("transformers:ViTMAEForPreTraining", [], {"pixel_values": ("B", 3, 224, 224)}),
        ("transformers:VideoMAEModel", [], {"pixel_values": ("B", 16, 3, 224, 224)}),
        ("transformers:BertModel", [], {"input_ids": ("B", 128)}),
        ("transformers:BertModel", ["max_position_embeddings=40"], {"input_ids": ("B", 40)}),
        ("transformers:T5Model", [], {"input_ids": ("B", 128), "decoder_input_ids": ("B", 128)}),
        (
            "transformers:WhisperModel",
            [],
            {"input_features": ("B", 80, 3000), "decoder_input_ids": ("B", 128)},
        ),
        # Of a part that has other sizes than such a part alone, 224, what is not given stays.
        (
            "transformers:LlavaForConditionalGeneration",
            ["vision_config.num_hidden_layers=2"],
            {
                "input_ids": ("B", 128),
                "pixel_values": ("B", 3, 336, 336),
                "attention_mask": ("B", 128),
            },
        ),
        (
            "transformers:CLIPModel",
            [],
            {
                "input_ids": ("B", 77),
                "pixel_values": ("B", 3, 224, 224),
                "attention_mask": ("B", 77),
            },
        ),
    ],
)
def test_inputs_that_a_library_knows(
    reference: str, args: list[str], inputs: dict[str, tuple[int | str, ...]]
) -> None:
    source = find_source(reference, args=args)
    assert axes(source) == inputs
    text = {"input_ids", "decoder_input_ids", "attention_mask"}
    for one in source.inputs:
        assert one.dtype == ("int64" if one.name in text else "fp32")


def test_given_inputs_are_all_inputs() -> None:
    words = ["input_ids=5:int32", "attention_mask=5:bool"]
    source = find_source("transformers:CLIPModel", inputs=words)
    assert source.inputs == (
        Input(name="input_ids", axes=("B", 5), dtype="int32"),
        Input(name="attention_mask", axes=("B", 5), dtype="bool"),
    )


@pytest.mark.parametrize(
    "reference",
    [
        "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn",
        "torchvision:raft_small",
        "transformers:Wav2Vec2Model",
    ],
)
def test_a_model_whose_inputs_no_library_knows(reference: str) -> None:
    sentence = (
        f"nothing says what {reference} is called with; give --input, such as --input 3x224x224"
    )
    with pytest.raises(SpecError, match=f"^{re.escape(sentence)}$"):
        find_source(reference)
    assert axes(find_source(reference, inputs=["3x64x64"])) == {"": ("B", 3, 64, 64)}


@pytest.mark.parametrize(
    ("reference", "args", "count"),
    [
        ("timm:vit_tiny_patch16_224", [], 5_717_416),
        # 24² - 14² positions more, of width 192.
        ("timm:vit_tiny_patch16_224", ["img_size=384"], 5_717_416 + (24**2 - 14**2) * 192),
        ("torchvision:resnet18", [], 11_689_512),
        ("torchvision:swin_t", ["num_classes=10"], 28_288_354 - 990 * 769),
        ("torchvision:inception_v3", [], 27_161_264),
        ("transformers:CLIPModel", [], 151_277_313),
        # A key of a part keeps the others of that part.
        ("transformers:CLIPModel", ["vision_config.num_hidden_layers=11"], 151_277_313 - 7_087_872),
        ("transformers:ViTModel", TINY, TINY_WEIGHTS),
    ],
)
def test_parameters_of_what_is_built(reference: str, args: list[str], count: int) -> None:
    source = find_source(reference, args=args, inputs=["3x64x64"])
    assert weights(source) == count


def test_weights_of_no_backbone_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default DETR and Faster R-CNN ask for pretrained weights of their backbones."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError

    monkeypatch.setattr("timm.models._builder.load_pretrained", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    name = "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn"
    assert weights(find_source(name, inputs=["3x64x64"])) > 0
    source = find_source("transformers:DetrForObjectDetection", inputs=["pixel_values=3x64x64"])
    assert weights(source) == 41_501_895


def test_a_model_of_timm_without_a_description(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timm.models.get_pretrained_cfg", lambda name: None)
    with pytest.raises(SpecError, match=r"^nothing says what timm:resnet18 is called with; give"):
        find_source("timm:resnet18")
    assert find_names("timm:resnet18") == [("timm:resnet18", "")]


@pytest.mark.parametrize("name", ["inception_v3", "quantized_googlenet"])
def test_slow_random_weights_are_left_out(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    called: dict[str, object] = {}

    def keep(name: str, **words: object) -> nn.Module:
        called.update(words)
        return nn.Identity()

    monkeypatch.setattr("torchvision.models.get_model", keep)
    find_source(f"torchvision:{name}").build()
    assert called == {"weights": None, "init_weights": False}
    find_source(f"torchvision:{name}", args=["init_weights=true"]).build()
    assert called == {"weights": None, "init_weights": True}


def test_each_build_is_new() -> None:
    source = find_source("torchvision:resnet18")
    assert built(source) is not built(source)
    assert {parameter.device.type for parameter in built(source).parameters()} == {"meta"}


def test_conditions_say_what_a_module_depends_on() -> None:
    source = find_source("timm:vit_tiny_patch16_224", args=["img_size=96,64", "qkv_bias=false"])
    assert source.reference == "timm:vit_tiny_patch16_224"
    assert source.conditions() == {
        "module": "timm:vit_tiny_patch16_224",
        "arguments": "img_size=(96, 64), qkv_bias=false",
        "timm": import_module("timm").__version__,
    }
    assert set(find_source("torchvision:resnet18").conditions()) == {"module", "torchvision"}
    assert set(find_source("transformers:ViTModel").conditions()) == {"module", "transformers"}


# Other sizes.


@pytest.mark.parametrize(
    ("reference", "args", "square", "oblong"),
    [
        ("timm:vit_tiny_patch16_224", [], True, True),
        ("timm:vit_tiny_patch16_224", ["img_size=224"], False, False),
        ("timm:resnet18", [], False, False),
        ("torchvision:vit_b_16", [], True, False),
        ("torchvision:maxvit_t", [], True, True),
        ("torchvision:swin_t", [], False, False),
        ("transformers:ViTModel", TINY, True, True),
        ("transformers:ViTModel", [*TINY, "image_size=32"], False, False),
        ("transformers:ViTMAEForPreTraining", TINY, True, False),
        ("transformers:BertModel", TINY, False, False),
    ],
)
def test_sizes_that_are_arguments(
    reference: str, args: list[str], square: bool, oblong: bool
) -> None:
    source = find_source(reference, args=args)
    (one,) = axes(source)
    for (height, width), there in (((448, 448), square), ((448, 224), oblong)):
        other = source.resized(height, width)
        assert (other is not None) is there
        if other is not None:
            assert axes(other) == {one: ("B", 3, height, width)}
            assert weights(other) == weights(source) or "maxvit" not in reference
            assert other.resized(64, 64) is None  # the size is an argument of it by now
    assert source.conditions() == find_source(reference, args=args).conditions()


def test_positions_follow_the_size() -> None:
    """A ViT of patches of 16 has 14² at 224, and 2 × 4 at 32 × 64, of width 24."""
    source = find_source("transformers:ViTModel", args=TINY)
    other = source.resized(32, 64)
    assert other is not None
    assert weights(source) - weights(other) == (14 * 14 - 2 * 4) * 24


def test_a_part_for_images_has_the_size() -> None:
    other = find_source("transformers:CLIPModel").resized(64, 64)
    assert axes(other)["pixel_values"] == ("B", 3, 64, 64)
    assert axes(other)["input_ids"] == ("B", 77)


def test_given_images_are_resized_too() -> None:
    words = ["5", "3x224x224", "1x7x7"]
    source = find_source("timm:vit_tiny_patch16_224", inputs=words)
    other = source.resized(64, 96)
    assert other is not None
    assert [one.axes for one in other.inputs] == [("B", 5), ("B", 3, 64, 96), ("B", 1, 7, 7)]


# A user's code.

NET = """
from __future__ import annotations
from dataclasses import dataclass
import sys
from torch import nn
import beside_net

print("imported")

@dataclass
class Sizes:
    width: int = 8

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        print("built")
        self.layer = nn.Linear(Sizes(width).width, beside_net.out())

def beside():
    import later_net
    return later_net.make()

def leave(): sys.exit("bye")
def leave_silently(): sys.exit()
def fail(): raise ValueError("no\\n  such.")
def text(): return "a net"
def impatient(): raise KeyboardInterrupt
net = Net()
number = 3
"""
LATER = "from torch import nn\ndef make(): return nn.Linear(2, 5)\n"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    before = {*sys.modules}
    (tmp_path / "my_net.py").write_text(NET, encoding="utf-8")
    (tmp_path / "beside_net.py").write_text("def out(): return 3\n", encoding="utf-8")
    (tmp_path / "later_net.py").write_text(LATER, encoding="utf-8")
    yield tmp_path
    for name in ("my_net", "beside_net", "later_net"):
        sys.modules.pop(name, None)
    assert {name for name in {*sys.modules} - before if "my_net" in name} == set()


def of_file(folder: Path, name: str, *args: str) -> Source:
    return find_source(f"{folder}/my_net.py:{name}", args=args, inputs=["8"], trusted=True)


def test_a_file(folder: Path, capsys: Capture) -> None:
    before = [*sys.path]
    source = of_file(folder, "Net", "width=5")
    assert weights(source) == 5 * 3 + 3
    assert built(source) is not built(source)
    assert source.conditions() == {"module": f"{folder}/my_net.py:Net", "arguments": "width=5"}
    assert source.resized(64, 64) is None
    assert weights(of_file(folder, "beside")) == 2 * 5 + 5
    assert sys.path == before
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("imported\nbuilt\nbuilt\n")


def test_a_module_of_a_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies in the working directory, as for `python -m`."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    source = find_source("my_net:Net", inputs=["8"], trusted=True)
    assert weights(source) == 8 * 3 + 3
    assert source.conditions() == {"module": "my_net:Net"}


def test_a_class_of_torch() -> None:
    args = ["in_features=3", "out_features=7", "bias=false"]
    source = find_source("torch.nn:Linear", args=args, inputs=["5x3"], trusted=True)
    assert weights(source) == 21
    assert axes(source) == {"": ("B", 5, 3)}


@pytest.mark.parametrize(
    ("name", "args", "sentence"),
    [
        ("fail", [], "cannot be built, ValueError: no such; give arguments that suit it by --arg"),
        ("leave", [], "cannot be built, SystemExit: bye; give"),
        ("leave_silently", [], "cannot be built, SystemExit; give"),
        ("text", [], "gives a str, not a module; give a function or class that returns a torch.nn"),
        ("Net", ["depth=3"], "unexpected keyword argument 'depth'; give arguments that suit it"),
    ],
)
def test_a_factory_that_fails(folder: Path, name: str, args: list[str], sentence: str) -> None:
    source = of_file(folder, name, *args)
    with pytest.raises(SpecError) as refusal:
        source.build()
    said = str(refusal.value)
    assert said.startswith(f"{folder}/my_net.py:{name} ")
    assert sentence in said
    assert "\n" not in said


def test_the_cause_of_a_failure_is_kept(folder: Path) -> None:
    with pytest.raises(SpecError) as refusal:
        of_file(folder, "fail").build()
    assert isinstance(refusal.value.__cause__, ValueError)


def test_an_interrupt_is_no_failure(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        of_file(folder, "impatient").build()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Nett", "there is no 'Nett' in {place}; did you mean Net or net? give a function or cla"),
        ("zzz", "there is no 'zzz' in {place}; give a function or class of it that returns"),
        ("number", "{place}:number is of type int and makes nothing; give a function or class"),
        ("net", "{place}:net is of type Net and makes nothing; give a function or class"),
    ],
)
def test_what_is_no_factory(folder: Path, name: str, sentence: str) -> None:
    place = f"{folder}/my_net.py"
    with pytest.raises(SpecError, match=re.escape(sentence.format(place=place))):
        of_file(folder, name)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 / 0", "cannot be imported, ZeroDivisionError: division by zero; give a file that runs"),
        ("import sys; sys.exit(3)", "cannot be imported, SystemExit: 3; give a file that runs"),
        ("def", "cannot be imported, SyntaxError: invalid syntax"),
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ],
)
def test_a_file_that_breaks(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "broken.py").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=re.escape(sentence)):
        find_source(f"{tmp_path}/broken.py:make", inputs=["3"], trusted=True)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("gone/net.py:make", "there is no file of Python gone/net.py; give one, file.py:factory"),
        ("gone.py:make", "there is no file of Python gone.py; give one"),
        ("./net:make", "there is no file of Python ./net; give one"),
        ("/dev/null:make", "there is no file of Python /dev/null; give one"),
        ("nowhere.net:make", "No module named 'nowhere'; give package.module:factory that can be"),
        ("tmm:vit_tiny_patch16_224", "'tmm'; did you mean timm:vit_tiny_patch16_224?"),
        ("json:dmps", "there is no 'dmps' in json; did you mean dumps? give a function or class"),
    ],
)
def test_code_that_is_not_there(reference: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=re.escape(sentence)):
        find_source(reference, inputs=["3"], trusted=True)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "net.txt").write_text(NET, encoding="utf-8")
    with pytest.raises(SpecError, match=r"^there is no file of Python .*net\.txt; give one"):
        find_source(f"{tmp_path}/net.txt:Net", inputs=["8"], trusted=True)


@pytest.mark.parametrize("place", ["./net.py", "json"])
def test_code_that_is_not_trusted(place: str) -> None:
    sentence = (
        f"{place}:make would run code of {place}, and a file of models is only data; add --trust "
        "if you trust that code"
    )
    with pytest.raises(SpecError, match=f"^{re.escape(sentence)}$"):
        find_source(f"{place}:make", inputs=["3"])


def test_code_without_inputs() -> None:
    with pytest.raises(
        SpecError, match=r"^nothing says what torch\.nn:Linear is called with; give"
    ):
        find_source("torch.nn:Linear", trusted=True)


# Configurations of transformers.


def configuration(folder: Path, **values: object) -> str:
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return f"transformers:{folder}/config.json"


def test_a_configuration(tmp_path: Path) -> None:
    """A folder stands for the config.json in it; arguments outweigh what the file says."""
    sizes = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 1}
    more = {"intermediate_size": 50, "image_size": 224, "auto_map": {"AutoModel": "net.Net"}}
    reference = configuration(tmp_path, architectures=["ViTModel"], **sizes, **more)
    for there in (reference, f"transformers:{tmp_path}"):
        source = find_source(there, args=["intermediate_size=40"])
        assert weights(source) == TINY_WEIGHTS
        assert axes(source) == {"pixel_values": ("B", 3, 224, 224)}
    assert find_source(reference).conditions()["module"] == reference


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_the_kernels_of_attention_are_those_given(tmp_path: Path, key: str) -> None:
    sizes = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 1}
    reference = configuration(tmp_path, architectures=["ViTModel"], **sizes, **{key: "eager"})
    for args, wanted in (([], "eager"), ([f"{key}=sdpa"], "sdpa")):
        built: Any = find_source(reference, args=args).build()
        assert built.config._attn_implementation == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "config.json is not JSON: Expecting property name"),
        ("[" * 100_000, "config.json nests lists too deep; give a model"),
        ("[]", "config.json names no class under architectures; add it, such as"),
        ("{}", "config.json names no class under architectures"),
        ('{"architectures": [3]}', "config.json names no class under architectures"),
        (
            '{"architectures": ["MyNet"], "auto_map": {"AutoModel": "net.MyNet"}}',
            "is for the class MyNet, which transformers does not have, and code that comes with a "
            "configuration is never run; give it as package.module:factory",
        ),
        (
            '{"architectures": ["ViTModel"], "_attn_implementation": "someone/kernel"}',
            "attn_implementation can be eager, sdpa, flash_attention_2, flash_attention_3 or "
            "flex_attention, not 'someone/kernel'",
        ),
        (
            '{"architectures": ["ViTModel"], "attn_implementation": "someone/kernel"}',
            "not 'someone/kernel'",
        ),
        (
            '{"architectures": ["CLIPModel"], "text_config": {"_attn_implementation": "some/one"}}',
            "not 'some/one'",
        ),
        ('{"architectures": ["ViTModel"], "image_size": "big"}', "nothing says what"),
    ],
)
def test_a_configuration_that_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=re.escape(sentence)):
        find_source(f"transformers:{tmp_path}/config.json")


def test_a_configuration_that_is_not_there() -> None:
    with pytest.raises(
        SpecError, match=r"^cannot read gone/config\.json: no such file or directory"
    ):
        find_source("transformers:gone/config.json")


# Names and arguments that a library does not have.


@pytest.mark.parametrize(
    ("reference", "args", "sentence"),
    [
        ("timm:vit_tny_patch16_224", [], "there is no model 'vit_tny_patch16_224' in timm 1."),
        ("timm:vit_tny_patch16_224", [], "did you mean vit_tiny_patch16_224 or deit_tiny_patch"),
        ("timm:hf-hub:timm/resnet18", [], "there is no model 'hf-hub:timm/resnet18' in timm"),
        ("timm:resnet18.gone", [], "timm:resnet18.gone cannot be found, RuntimeError: Invalid pre"),
        ("torchvision:resnt18", [], "did you mean resnet18? vitprof models 'torchvision:*' lists"),
        ("transformers:VitModel", [], "did you mean ViTModel? vitprof models 'transformers:*' lis"),
        ("transformers:AutoModel", [], "AutoModel of transformers is no model that can be built"),
        ("transformers:ViTConfig", [], "ViTConfig of transformers is no model that can be built"),
        ("transformers:PreTrainedModel", [], "PreTrainedModel of transformers is no model"),
        ("timm:resnet18", ["pretrained=true"], "argument pretrained of timm:resnet18 loads pretr"),
        ("timm:resnet18", ["checkpoint_path=x.pt"], "argument checkpoint_path of timm:resnet18"),
        ("timm:resnet18", ["pretrained_cfg=x"], "which no count needs; leave it out"),
        ("torchvision:resnet18", ["weights=DEFAULT"], "argument weights of torchvision:resnet18"),
        (
            "torchvision:resnet18",
            ["weights_backbone=x"],
            "loads pretrained weights, which no count",
        ),
        (
            "transformers:ViTModel",
            ["hiden_size=24"],
            "there is no argument of transformers:ViTModel called 'hiden_size'; did you mean "
            "hidden_size? known are hidden_size, num_hidden_layers, ",
        ),
        (
            "transformers:CLIPModel",
            ["vision_config.hiden_size=24"],
            "there is no argument of transformers:CLIPModel under vision_config called "
            "'hiden_size'; did you mean hidden_size?",
        ),
        (
            "transformers:CLIPModel",
            ["vison_config.hidden_size=24"],
            "there is no argument of transformers:CLIPModel called 'vison_config'; did you mean "
            "vision_config?",
        ),
        (
            "transformers:ViTModel",
            ["attn_implementation=someone/kernel"],
            "attn_implementation can be eager, sdpa, ",
        ),
        (
            "transformers:ViTModel",
            ["_attn_implementation_internal=someone/kernel"],
            "attn_implementation can be eager, sdpa, ",
        ),
        (
            "transformers:CLIPModel",
            ["vision_config._attn_implementation=someone/kernel"],
            "attn_implementation can be eager, sdpa, ",
        ),
        (
            "transformers:EncoderDecoderModel",
            [],
            "transformers:EncoderDecoderModel cannot be configured, ValueError: A configuration",
        ),
    ],
)
def test_what_a_library_does_not_have(reference: str, args: list[str], sentence: str) -> None:
    with pytest.raises(SpecError, match=re.escape(sentence)):
        find_source(reference, args=args)


@pytest.mark.parametrize(
    ("reference", "args", "sentence"),
    [
        ("timm:resnet18", ["width=3"], "timm:resnet18 cannot be built, TypeError: .*'width'; give"),
        ("torchvision:resnet18", ["width=3"], "cannot be built, TypeError: .*'width'; give"),
        ("transformers:ViTModel", ["patch_size=0"], "cannot be built, ZeroDivisionError"),
        # It copies a weight while it is built; the caller builds it for real.
        ("torchvision:regnet_y_400mf", [], "cannot be built, NotImplementedError: Cannot copy"),
    ],
)
def test_a_model_that_cannot_be_built(reference: str, args: list[str], sentence: str) -> None:
    source = find_source(reference, args=args)
    with pytest.raises(SpecError, match=sentence) as refusal:
        built(source)
    assert refusal.value.__cause__ is not None


@pytest.mark.parametrize("library", ["timm", "torchvision", "transformers"])
def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    sentence = f"^{library} is not installed; run pip install 'vitprof\\[{library}\\]'$"
    with pytest.raises(SpecError, match=sentence):
        find_source(f"{library}:x")
    with pytest.raises(SpecError, match=sentence):
        find_names(f"{library}:*")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            RuntimeError("operator torchvision::nms does not exist"),
            r"^torchvision 0\.\S+ was not built for torch 2\.\S+, which lacks its operator "
            "torchvision::nms; install both from one index, such as pip install torch torchvision ",
        ),
        (
            ImportError("cannot import name x"),
            "^torchvision cannot be imported, ImportError: cannot import name x; install versions "
            r"that fit together, pip install -U 'vitprof\[torchvision\]'$",
        ),
    ],
)
def test_a_library_that_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def fail(name: str) -> Any:
        raise error

    def fail_later(name: str) -> Any:
        raise ImportError("is it installed?") from error

    monkeypatch.setattr(base, "import_module", fail)
    with pytest.raises(SpecError, match=sentence):
        find_source("torchvision:resnet18")
    if isinstance(error, RuntimeError):  # which transformers hides behind one of its own
        monkeypatch.setattr(base, "import_module", fail_later)
        with pytest.raises(SpecError, match=sentence):
            find_source("torchvision:resnet18")


def test_what_a_library_prints_is_no_output(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    source = find_source("timm:resnet18")

    def talk(name: str, **kwargs: object) -> nn.Module:
        print("hello")  # noqa: T201
        return nn.Identity()

    monkeypatch.setattr(
        "vitprof.captured.libraries.timm.import_library",
        lambda name: SimpleNamespace(create_model=talk),
    )
    assert isinstance(source.build(), nn.Identity)
    assert capsys.readouterr() == ("", "hello\n")


# Lists.


def test_names_that_match() -> None:
    assert find_names("timm:deit_tiny_patch16_*") == [("timm:deit_tiny_patch16_224", "3x224x224")]
    assert ("torchvision:vit_h_14", "3x224x224") in find_names("torchvision:vit_*")
    assert ("torchvision:raft_small", "") in find_names("torchvision:*")
    assert ("torchvision:r3d_18", "3x16x112x112") in find_names("torchvision:r*")
    vits = find_names("transformers:ViT*")
    assert {("transformers:ViTModel", ""), ("transformers:ViTMAEForPreTraining", "")} <= {*vits}
    assert [name for name, _ in vits if "PreTrained" in name] == []
    for pattern in ("TF*", "Flax*", "*Config", "*Tokenizer", "*Processor*", "DataCollator*"):
        with pytest.raises(SpecError, match=r"^none of the "):
            find_names(f"transformers:{pattern}")
    assert find_names("timm") == find_names("timm:") == find_names("timm:*")
    assert len(find_names("timm")) > 1000


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("tim:*", "there is no library 'tim'; did you mean timm? known are timm, torchvision and"),
        ("deit*", "there is no library 'deit*'; known are timm, torchvision and transformers"),
        (
            "torchvision:deit*",
            "none of the 121 models of torchvision matches 'deit*'; give * for a",
        ),
    ],
)
def test_patterns_that_match_nothing(pattern: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=re.escape(sentence)):
        find_names(pattern)


def test_a_refusal_imports_no_library() -> None:
    code = (
        "import sys\n"
        "from vitprof.captured.libraries import find_source\n"
        "for words in ({'reference': 'json:dumps'}, {'reference': 'timm:x', 'args': ['x']}):\n"
        "    try: find_source(**words)\n"
        "    except ValueError: print('refused')\n"
        "print(*{'torch', 'timm', 'torchvision', 'transformers', 'numpy'} & {*sys.modules})"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "refused\nrefused\n\n"
