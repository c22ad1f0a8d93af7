"""References, arguments and inputs of a module, as a user writes them, and those refused."""

from __future__ import annotations

import re

import pytest
from cases import for_each

from vitprof.captured.reference import (
    Argument,
    read_arguments,
    read_input,
    read_inputs,
    read_reference,
    show_arguments,
)
from vitprof.captured.source import DTYPES, Input
from vitprof.errors import SpecError


@pytest.mark.parametrize(
    ("text", "place", "name"),
    [
        ("timm:vit_base_patch16_224", "timm", "vit_base_patch16_224"),
        ("timm:hf-hub:timm/vit", "timm", "hf-hub:timm/vit"),
        ("transformers:C:/models/config.json", "transformers", "C:/models/config.json"),
        ("my.models:Net", "my.models", "Net"),
        ("./net.py:make", "./net.py", "make"),
        ("C:/net.py:make", "C:/net.py", "make"),
        (" timm:resnet18 ", "timm", "resnet18"),
    ],
)
def test_a_reference_has_two_parts(text: str, place: str, name: str) -> None:
    found = read_reference(text)
    assert (found.place, found.name) == (place, name)
    assert str(found) == text.strip()


@pytest.mark.parametrize("text", ["", "vit", "timm:", ":vit", "net.py", "org/name"])
def test_a_reference_without_two_parts(text: str) -> None:
    sentence = (
        f"module {text!r} does not say where it comes from; give timm:NAME, torchvision:NAME, "
        "transformers:CLASS, package.module:factory or file.py:factory"
    )
    with pytest.raises(SpecError, match=f"^{re.escape(sentence)}$"):
        read_reference(text)


def test_a_reference_that_is_no_text() -> None:
    with pytest.raises(SpecError, match=r"^module is a reference in quotes, not 3; give timm:NAME"):
        read_reference(3)


@for_each(
    "value, meant",
    [
        ("64", 64),
        ("-3", -3),
        ("+3", 3),
        ("0.1", 0.1),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e-5", 1e-5),
        ("-2.5E3", -2500.0),
        ("true", True),
        ("False", False),
        ("none", None),
        ("None", None),
        ("gelu", "gelu"),
        ("", ""),
        ("a=b", "a=b"),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("7,7", (7, 7)),
        ("7,", (7,)),
        ("(7,)", (7,)),
        ("(7)", 7),
        ("(7, 7)", (7, 7)),
        ("()", ()),
        ("[1, 2]", [1, 2]),
        ("[1]", [1]),
        ("[]", []),
        ("[[1,2],(3,none)]", [[1, 2], (3, None)]),
        ("a,0.5,true", ("a", 0.5, True)),
        ("'64'", "64"),
        ('"a,b"', "a,b"),
        ("[']', 2]", ["]", 2]),
        # Python refuses to read an int of so many digits.
        ("9" * 5000, "9" * 5000),
    ],
)
def test_values_of_arguments(value: str, meant: Argument) -> None:
    (read,) = read_arguments([f"key={value}"]).values()
    assert read == meant
    assert type(read) is type(meant)


def test_arguments_by_key() -> None:
    words = ["width=64", "vision_config.image_size=64", "window=7,7", "last=none", "fast=true"]
    arguments = read_arguments(words)
    assert arguments == {
        "width": 64,
        "vision_config.image_size": 64,
        "window": (7, 7),
        "last": None,
        "fast": True,
    }
    assert show_arguments({**arguments, "sizes": [1, ()]}) == (
        "width=64, vision_config.image_size=64, window=(7, 7), last=none, fast=true, sizes=[1, ()]"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["width"], "argument 'width' is not KEY=VALUE; give one such as width=64"),
        (["=64"], "argument '=64' is not KEY=VALUE"),
        (["a b=64"], "argument 'a b=64' is not KEY=VALUE"),
        (["a..b=64"], "argument 'a..b=64' is not KEY=VALUE"),
        (["a=1", "a=2"], "argument a is given twice; give it once"),
        (["a=[1,2"], "argument 'a=[1,2' has a bracket without its partner; close it, or put"),
        (["a=1]"], "argument 'a=1]' has a bracket without its partner"),
        (["a=[1)"], "argument 'a=[1)' has a bracket without its partner"),
        ([f"a={'[' * 5000}{']' * 5000}"], "has too many brackets; give 20 at most"),
    ],
)
def test_arguments_that_cannot_be_read(words: list[str], sentence: str) -> None:
    with pytest.raises(SpecError, match=re.escape(sentence)):
        read_arguments(words)


@pytest.mark.parametrize(
    ("word", "name", "axes", "dtype"),
    [
        ("3x224x224", "", ("B", 3, 224, 224), "fp32"),
        ("tokens=50x64", "tokens", ("B", 50, 64), "fp32"),
        ("mask=50:bool", "mask", ("B", 50), "bool"),
        ("50xBx64", "", (50, "B", 64), "fp32"),
        ("Bx3:int64", "", ("B", 3), "int64"),
        ("t=B:int64", "t", ("B",), "int64"),
        ("mask=50x50:bool:fixed", "mask", (50, 50), "bool"),
        ("50:fixed", "", (50,), "fp32"),
        ("scale=:fixed", "scale", (), "fp32"),
    ],
)
def test_inputs(word: str, name: str, axes: tuple[int | str, ...], dtype: str) -> None:
    assert read_input(word) == Input(name=name, axes=axes, dtype=dtype)


def test_every_dtype_is_read() -> None:
    names = ["fp32", "fp64", "fp16", "bf16", "int64", "int32", "int16", "int8", "uint8", "bool"]
    assert [*DTYPES] == [*names, "complex64"]
    assert [read_input(f"3:{dtype}").dtype for dtype in DTYPES] == [*DTYPES]


def test_a_batch_takes_its_axis() -> None:
    assert read_input("50xBx64").shape(7) == (50, 7, 64)
    assert read_input("50x64:fixed").shape(7) == (50, 64)


def test_inputs_in_order() -> None:
    inputs = read_inputs(["3x8x8", "5", "mask=7:bool"])
    assert [one.name for one in inputs] == ["", "", "mask"]
    assert [one.axes for one in inputs] == [("B", 3, 8, 8), ("B", 5), ("B", 7)]


@for_each(
    "words, sentence",
    [
        ([""], "input '' has no shape; a shape is lengths joined by x, such as 3x224x224"),
        (["mask="], "input 'mask=' has no shape"),
        (["3x"], "input '3x' has no length ''; a shape is lengths joined by x"),
        (["3*4"], "input '3*4' has no length '3*4'"),
        (["3x-4"], "input '3x-4' has no length '-4'"),
        (["3xb"], "input '3xb' has no length 'b'"),
        (["3x½"], "input '3x½' has no length '½'"),
        (["3x٣"], "has no length '٣'"),
        ([f"3x{'9' * 5000}"], f"has no length '{'9' * 20}"),
        (["3x0"], "input '3x0' has a length 0 that is out of range; give a whole number from 1 to"),
        (["3x1000000001"], "has a length 1000000001 that is out of range"),
        (["BxB"], "input 'BxB' has two batches; give B once at most"),
        (["Bx3:fixed"], "input 'Bx3:fixed' has a batch and is fixed; leave out one of them"),
        (["3:fp31"], "there is no dtype 'fp31'; did you mean fp32 or fp16? known are fp32, "),
        (["3:bool:int64"], "input '3:bool:int64' says too much after its shape; give one dtype"),
        (["3:bool:bool"], "says too much after its shape"),
        (["=3"], "input '=3' has no name before =; give one such as mask=50:bool"),
        (["a b=3"], "input 'a b=3' has no name before ="),
        (["x=3", "x=4"], "input x is given twice; give it once"),
        (["x=3", "4"], "input '4' has no name and comes after x, which has one; give those"),
    ],
)
def test_inputs_that_cannot_be_read(words: list[str], sentence: str) -> None:
    with pytest.raises(SpecError, match=re.escape(sentence)):
        read_inputs(words)
