"""How fast one fused program is, against a tuned loop of hooks."""
