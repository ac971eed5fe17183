"""The arithmetic: changes, percentiles, alignment, distances. Tensors in, plain numbers out. See docs/metrics.md."""
