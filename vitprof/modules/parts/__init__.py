"""Parts of `vitprof.formulas.parts`, in torch."""
