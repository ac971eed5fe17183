"""Analyzes a run, or many runs, from checkpoints; keeps the cache of earlier work; follows a running job."""
