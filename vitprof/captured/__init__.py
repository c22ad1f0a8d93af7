"""Any `nn.Module` as a subject: where it comes from, its inputs, its capture and its formulas."""
