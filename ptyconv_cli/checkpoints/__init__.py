"""Checkpoint files: finding them in a folder, telling runs apart, reading each format. See docs/formats.md."""
