"""Memory of ATen's functions, a file per kind of function.

A function here allocates its output, saves the tensors that its backward pass reads, and gives
the allocations of that pass. The sources are PyTorch's formulas of derivatives
(tools/autograd/derivatives.yaml, FunctionsManual.cpp), the composite functions of
aten/src/ATen/native, and for temporaries the lifetimes of C++: a temporary of an expression is
held to the end of the expression, a variable to the end of its function.
"""
