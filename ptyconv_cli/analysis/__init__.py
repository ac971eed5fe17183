"""A run analyzed from its checkpoints, or many of them; the cache of earlier work; following a running job."""
