"""The numbers: changes between two snapshots, percentiles, alignment, distances. Tensors in, plain numbers out."""
