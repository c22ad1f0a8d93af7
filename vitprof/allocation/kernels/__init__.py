"""What each function of ATen allocates and keeps, a file a kind of function.

A function makes what it writes, keeps what its backward pass reads, and says what that makes.
The sources are PyTorch's formulas of derivatives (tools/autograd/derivatives.yaml,
FunctionsManual.cpp), the composite functions of aten/src/ATen/native, and for what stays
between a function's lines the lifetimes of C++: what is made within an expression is held to
its end, a variable to the end of its function.
"""
