"""Table of GPUs: complete, plausible, and found by the names that users type."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace

import pytest
from cases import for_each
from h100 import DATA, read

from vitprof.cuda.gpus import Gpu, find_gpu, gpus
from vitprof.errors import SpecError

GIB = 1024**3
DEVICE = json.loads((DATA / "device.json").read_text(encoding="utf-8"))
CAPABILITIES = {
    "Pascal": {(6, 0), (6, 1)},
    "Volta": {(7, 0)},
    "Turing": {(7, 5)},
    "Ampere": {(8, 0), (8, 6)},
    "Ada": {(8, 9)},
    "Hopper": {(9, 0)},
    "Blackwell": {(10, 0), (12, 0)},
}
THREADS = {
    **dict.fromkeys([(6, 0), (6, 1), (7, 0), (8, 0), (9, 0), (10, 0)], 2048),
    (7, 5): 1024,
    **dict.fromkeys([(8, 6), (8, 9), (12, 0)], 1536),
}
SEVERAL = {
    "A100": "a100-40 or a100-80",
    "v100": "v100-16 or v100-32",
    "RTX 3080": "rtx3080-10 or rtx3080-12",
    "3080": "rtx3080-10 or rtx3080-12",
    "rtx-6000": "quadrortx6000, rtx6000ada or rtxpro6000",
    "6000": "quadrortx6000, rtx6000ada or rtxpro6000",
}
DTYPES = ("fp32", "tf32", "fp16", "bf16", "fp8")
each_gpu = for_each("gpu", gpus(), ids=lambda gpu: gpu.name)


def plain(name: str) -> str:
    """Return a name without case, blanks, hyphens and underscores."""
    return re.sub("[-_ ]", "", name.lower())


def test_there_are_at_least_60() -> None:
    assert len(gpus()) >= 60


def test_every_name_is_the_name_of_one_gpu() -> None:
    names = [plain(name) for gpu in gpus() for name in {plain(gpu.name), *map(plain, gpu.names)}]
    assert len(names) == len(set(names))
    assert not set(names) & {plain(name) for name in SEVERAL}


@each_gpu
def test_every_name_finds_its_gpu(gpu: Gpu) -> None:
    assert gpu.names
    for name in (gpu.name, *gpu.names):
        assert find_gpu(name) is gpu
        assert find_gpu(name.upper()) is gpu


@for_each(
    "typed, name",
    [
        ("RTX 3090", "GeForce RTX 3090"),
        ("rtx3090", "GeForce RTX 3090"),
        ("rtx-3090", "GeForce RTX 3090"),
        ("RTX_3090", "GeForce RTX 3090"),
        ("3090", "GeForce RTX 3090"),
        ("geforce rtx 3090", "GeForce RTX 3090"),
        (" rtx  3090 ", "GeForce RTX 3090"),
        ("3090 Ti", "GeForce RTX 3090 Ti"),
        ("4070 ti super", "GeForce RTX 4070 Ti SUPER"),
        ("Tesla T4", "Tesla T4"),
        ("t4", "Tesla T4"),
        ("A100-80GB", "A100 SXM4 80GB"),
        ("a100-40", "A100 SXM4 40GB"),
        ("A100-SXM4-80GB", "A100 SXM4 80GB"),
        ("RTX A6000", "RTX A6000"),
        ("RTX 6000 Ada Generation", "RTX 6000 Ada Generation"),
        ("L40S", "L40S"),
        ("H100", "H100 SXM5 80GB"),
        ("h100 sxm", "H100 SXM5 80GB"),
        ("H100 PCIe", "H100 PCIe 80GB"),
        ("h200", "H200 SXM 141GB"),
        ("V100-32", "Tesla V100 SXM2 32GB"),
    ],
)
def test_what_people_type(typed: str, name: str) -> None:
    assert find_gpu(typed).name == name


@pytest.mark.parametrize(("typed", "choices"), SEVERAL.items())
def test_the_name_of_several_gpus(typed: str, choices: str) -> None:
    """Check that each choice is the name of one GPU, and that they differ in memory."""
    wanted = f"{typed!r} is the name of several GPUs; give {choices}"
    with pytest.raises(SpecError, match=f"^{re.escape(wanted)}$"):
        find_gpu(typed)
    names = re.split(", | or ", choices)
    assert len({find_gpu(name).memory for name in names}) == len(names) > 1


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("h1000", "there is no GPU 'h1000'; did you mean h100-80? vitprof gpus lists"),
        ("rtx 3091", "there is no GPU 'rtx 3091'; did you mean rtx3090"),
        ("mi300x", "there is no GPU 'mi300x'"),
        ("", "there is no GPU ''; vitprof gpus lists"),
    ],
)
def test_unknown_names(typed: str, wanted: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(wanted)}") as raised:
        find_gpu(typed)
    assert str(raised.value).endswith(f"vitprof gpus lists {len(gpus())}")


@each_gpu
def test_figures_are_of_their_types(gpu: Gpu) -> None:
    for field in fields(Gpu):
        value = getattr(gpu, field.name)
        if field.type == "str":
            assert isinstance(value, str)
        elif field.type == "bool":
            assert isinstance(value, bool)
        elif field.type in ("int", "int | None"):
            assert type(value) is int or (value is None and "None" in field.type)
        elif field.type in ("float", "float | None"):
            assert type(value) in (int, float) or (value is None and "None" in field.type)
        elif field.type == "Mapping[str, float]":
            assert set(value) <= set(DTYPES)
            assert all(type(peak) in (int, float) for peak in value.values())
        else:
            assert isinstance(value, tuple)
            assert field.type in ("tuple[str, ...]", "tuple[int, int]")
            assert {type(part) for part in value} == {int if "int" in field.type else str}


@each_gpu
def test_figures_are_plausible(gpu: Gpu) -> None:
    assert gpu.capability in CAPABILITIES[gpu.architecture]
    assert gpu.threads == THREADS[gpu.capability]
    assert 8 <= gpu.memory <= 200
    assert 10 <= gpu.multiprocessors <= 200
    assert 200 <= gpu.bandwidth <= 8_000
    assert gpu.ecc in ("", "on")
    assert not (gpu.ecc and gpu.hbm)
    assert gpu.sources
    assert all(gpu.sources)
    assert gpu.sure in ("two sources", "one source", "from memory")


@each_gpu
def test_a_process_can_have_less_than_the_data_sheet_says(gpu: Gpu) -> None:
    nominal = gpu.memory * 15 / 16 if gpu.ecc else gpu.memory
    if gpu.shown is not None:
        assert 0.93 * nominal < gpu.shown < gpu.memory
        assert gpu.memory_bytes == int(gpu.shown * GIB)
        assert gpu.memory_source == gpu.shown_by != ""
    else:
        assert gpu.shown_by == ""
        assert gpu.memory_source.startswith("estimated")
    assert 0.93 * nominal * GIB < gpu.memory_bytes < gpu.memory * GIB


@each_gpu
def test_contexts_are_plausible(gpu: Gpu) -> None:
    assert 290_000_000 < gpu.context_bytes < GIB
    assert (gpu.context is None) == (gpu.context_by == "")
    assert gpu.context_source


@each_gpu
def test_peaks_are_plausible(gpu: Gpu) -> None:
    """Check dense figures: 16 bits at least 1.9 times and at most 32 times as fast as fp32."""
    peaks = gpu.peaks
    assert 4 <= peaks["fp32"] <= 130
    assert {"bf16", "tf32"} <= set(peaks) or gpu.capability < (8, 0)
    assert ("fp8" in peaks) == (gpu.capability >= (8, 9))
    if "fp16" in peaks:
        assert 1.9 <= peaks["fp16"] / peaks["fp32"] <= 32
        assert peaks.get("bf16", peaks["fp16"]) == peaks["fp16"]
    if "tf32" in peaks:
        assert peaks["fp32"] <= peaks["tf32"] <= 0.52 * peaks["fp16"]
    if "fp8" in peaks:
        assert peaks["fp8"] == pytest.approx(2 * peaks["fp16"], rel=0.02)


@each_gpu
def test_nobody_has_measured_more_than_a_clock_explains(gpu: Gpu) -> None:
    """Bound measured peaks: GeForce runs above its data sheet's clock, in laptops far above.

    bf16 is emulated before Ampere.
    """
    most = 1.6 if "Laptop" in gpu.name else 1.16
    for dtype, measured in gpu.measured_peaks.items():
        if dtype in gpu.peaks:
            assert 0.4 < measured / gpu.peaks[dtype] < most
        else:
            assert dtype == "bf16"
            assert gpu.capability < (8, 0)
            assert 0 < measured < gpu.peaks["fp32"]


@for_each(
    "name, multiprocessors",
    [
        ("p100", 56),
        ("v100-16", 80),
        ("t4", 40),
        ("a100-40", 108),
        ("a10", 72),
        ("rtx3090", 82),
        ("rtx4090", 128),
        ("l4", 58),
        ("l40s", 142),
        ("h100", 132),
        ("h100-pcie", 114),
        ("b200", 148),
        ("rtx5090", 170),
    ],
)
def test_multiprocessors_that_drivers_have_said(name: str, multiprocessors: int) -> None:
    assert find_gpu(name).multiprocessors == multiprocessors


def test_a_3090_shows_what_drivers_of_today_show() -> None:
    shown = find_gpu("rtx3090").shown
    assert shown is not None
    assert 23.56 <= shown <= 23.70


@pytest.mark.parametrize(
    ("name", "mib"), [("t4", 14.74), ("a10", 22.06), ("l4", 22.03), ("l40s", 44.43)]
)
def test_error_correction_takes_a_sixteenth_of_gddr(name: str, mib: float) -> None:
    gpu = find_gpu(name)
    assert gpu.ecc == "on"
    assert gpu.shown == mib


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("rtxa4500", 20 - 0.45),
        ("rtx4500ada", 24 - 0.45),
        ("l20", 48 * 15 / 16 - 0.45),
        ("a16", 16 * 15 / 16 - 0.45),
    ],
)
def test_what_a_driver_shows_is_estimated_where_nobody_has_said(name: str, gib: float) -> None:
    assert find_gpu(name).shown is None
    assert find_gpu(name).memory_bytes == int(gib * GIB)


def test_error_correction_takes_nothing_of_hbm_and_the_driver_more() -> None:
    gpu = replace(find_gpu("h100"), shown=None, shown_by="")
    assert gpu.memory_bytes == int((80 - 0.015 * 80) * GIB)
    assert gpu.memory_source.startswith("estimated")


def test_h100_is_the_one_that_was_measured() -> None:
    """Compare memory to within 1 MiB, and the context with what was used beside the segments."""
    gpu = find_gpu("h100")
    assert (gpu.name, gpu.memory, gpu.multiprocessors) == ("H100 SXM5 80GB", 80, 132)
    assert DEVICE["name"] == "NVIDIA H100 80GB HBM3"
    assert abs(gpu.memory_bytes - DEVICE["total"]) < 2**20
    beside = [row["used_beside_reserved"] for row in read("steps.jsonl")]
    assert gpu.context == max(beside)
    assert find_gpu("rtx3090").context_bytes == max(beside)
