"""Checkpoint files: which there are in a folder, which of them are of one run, how each format is read."""
