"""Write docs/gpu.md, predicted beside measured memory of a GPU: python docs/make_gpu.py"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))

from h100 import PEAKS, Step, predicted, shown, steps

PAGE = Path(__file__).parent / "gpu.md"

_MIB = 2**20
# What is added to the tensors: the rule, its source, and on what it is based.
_RULES = (
    (
        "A sum over rows, such as the gradient of a bias, is split over thread blocks, which share "
        "a buffer. Its size depends on the shape, the strides and the multiprocessors of the GPU.",
        "`Reduce.cuh`: `setReduceConfig`, `global_memory_size`",
        "measured in 8 sums; source for other shapes and GPUs",
    ),
    (
        "The backward pass of softmax first computes `grad * output`, which is as large as the "
        "scores.",
        "`SoftMax.cu`: `softmax_backward_cuda_out`",
        "measured in fp32 and bf16",
    ),
    (
        "Softmax and layer norm copy an input or a gradient that is not contiguous.",
        "`SoftMax.cu`, `layer_norm_kernel.cu`",
        "agrees with the steps with normalised queries and keys",
    ),
    (
        "Layer norm sums the gradients of its weights in two passes if there are more than 65,536 "
        "rows and few columns.",
        "`layer_norm_kernel.cu`: `LaunchGammaBetaBackwardCUDAKernel`",
        "source; measured that 6,304 rows need no buffer",
    ),
    (
        "Fused attention in 16 bits uses cuDNN's kernel on compute capability 9 and 10 from "
        "PyTorch 2.11 on, otherwise flash attention. In fp32, and below compute capability 8, it "
        "uses the memory-efficient kernel.",
        "`sdp_utils.cpp`",
        "measured on the H100; source for other GPUs and versions",
    ),
    (
        "The backward pass of fused attention allocates a workspace.",
        "`kernel_backward.h`, `attention_backward.cu`, `flash_api.cpp`, `MHA.cpp`",
        "measured in one shape each for the memory-efficient kernel and cuDNN's; source for flash",
    ),
    (
        "A kernel of fused attention takes at most 65,535 images. The memory of the parts in which "
        "PyTorch runs more of them from 2.8 on, with the memory-efficient kernel, is not "
        "predicted.",
        "`kernel_forward.h`: `getBlocksGrid`, `flash_fwd_launch_template.h`, PyTorch's pull "
        "requests 154029, 154663 and 181235",
        "source",
    ),
    (
        "Autocast computes softmax, norms and the loss in fp32. Sums, and softmax in fp16, read "
        "16 bits without an fp32 copy.",
        "`autocast_mode.h`, `SoftMax.cu`, `ReduceSumProdKernel.cu`",
        "agrees with the steps; source for sums and for softmax in fp16",
    ),
    (
        "cuBLAS keeps one workspace for each thread that multiplies matrices: one in inference, "
        "two in training. Its size depends on the compute capability and the version.",
        "`CublasHandlePool.cpp`",
        "measured, 2 × 32 MiB; source for other GPUs",
    ),
    (
        "The caching allocator rounds sizes up to 512 bytes and cuts blocks from segments.",
        "`CUDACachingAllocator.cpp`",
        "agrees with the reserved memory",
    ),
)
_TEXT = """\
# Memory on a GPU: predicted and measured

vitprof predicts `torch.cuda.max_memory_allocated` of each phase of a step and
`torch.cuda.max_memory_reserved`. This page compares the predictions with steps that were measured
on an NVIDIA H100 80GB HBM3 with driver 580, CUDA 13.0 and PyTorch 2.11.0+cu130. No other GPU was
measured. The tests compare the same steps.

{measured} steps were measured. {earlier} of them, those of the mixer `nystrom`, are left out. In
vitprof's module of that time, 32 landmarks were pooled from 196 tokens; now the landmarks have to
divide the tokens.

| comparison | result |
|---|---|
| steps | {count} |
| error of the peak, median | {median:.4f} % |
| error of the peak, maximum | {worst:.3f} % |
| peak within 0.15 % | {near} |
| reserved equal to the byte | {equal} |
| reserved within 3 % | {reserved} |
| error of reserved, maximum | {worst_reserved:.2f} % |

For {alive} smaller models, the allocator also recorded the size of each block that was allocated in
a step and alive at its peak. The predicted sizes are the same, without exception.

## Rules

The tensors of a step follow from the formulas; see [memory of a training step](memory.md). A GPU
adds to them by the rules below. "Measured" means equal to a measured figure to the byte; "source"
means read from PyTorch's source code and not measured.

| rule | source in PyTorch | basis |
|---|---|---|
{rules}

## What is not known

- The workspaces of cuDNN's convolutions. cuDNN chooses an algorithm at run time, and the choice
  depends on its version, the GPU and the shape. The predictions below contain none of these
  workspaces. One was measured: the backward pass of the convolution of a lambda layer took
  27,501,568 bytes in fp32 and 21,647,872 bytes in bf16.
- cuDNN's workspace for attention in shapes and versions other than the measured one. The formula
  was derived from one measurement.
- The state of the allocator. A block can be up to 1 MiB larger than its tensor, depending on which
  blocks were free. The steps were measured one after another in one process, whereas vitprof
  simulates a new process. A single phase can therefore differ by several MiB, mostly that of the
  optimizer, which has many gradients and states of similar sizes.
- Memory outside PyTorch's allocator. The CUDA context with its kernels took 0.81 to 0.93 GB in
  addition to the reserved memory.

## Steps

Memory is in MiB, and the peak is the maximum over all phases. The measured figures exclude what
earlier steps had left allocated. [The data](../tests/data/h100/README.md) contains the options of
each step.

| step | peak, measured | predicted | error | reserved, measured | predicted | error |
|---|---:|---:|---:|---:|---:|---:|
{rows}
"""


def page() -> str:
    """Return the page."""
    every = shown()
    errors = [abs(step.error()) for step in every]
    reserved = [abs(step.error_of_reserved()) for step in every]
    return _TEXT.format(
        measured=len(steps()),
        count=len(every),
        earlier=len(steps()) - len(every),
        median=100 * median(errors),
        near=sum(error <= 0.0015 for error in errors),
        worst=100 * max(errors),
        equal=sum(error == 0 for error in reserved),
        reserved=sum(error <= 0.03 for error in reserved),
        worst_reserved=100 * max(reserved),
        alive=len(PEAKS),
        rules="\n".join(f"| {' | '.join(rule)} |" for rule in _RULES),
        rows="\n".join(_row(step) for step in every),
    )


def _row(step: Step) -> str:
    found = predicted(step.label)
    cells = (
        step.label,
        _mib(step.peak),
        _mib(found.peak),
        _percent(step.error()),
        _mib(step.reserved),
        _mib(found.reserved),
        _percent(step.error_of_reserved()),
    )
    return f"| {' | '.join(cells)} |"


def _mib(bytes: int) -> str:
    return f"{bytes / _MIB:,.1f}"


def _percent(share: float) -> str:
    """Three digits; 0 alone means equal to the byte."""
    if not share:
        return "0"
    return f"{100 * share:+.3f} %".replace("-", "−")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
