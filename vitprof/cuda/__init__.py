"""Facts on CUDA GPUs: a table of them, and the memory that their kernels take for themselves.

A rule is a pure function of sizes, strides and the GPU, and names its source.
The step on paper (`vitprof.allocation`) and the trace (`vitprof.running`) call the same ones.
"""
