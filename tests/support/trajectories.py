"""Trajectories of invented distances."""

from ptyconv_cli.results.history import Distances, Trajectory, lag_of


def trajectory(niters: list[int], raw: list[list[float]], aligned: list[list[float]], unit: str = "rad") -> Trajectory:
    """With the distances of each checkpoint from all before it."""
    return Trajectory(niters, unit, 9, 9, lag_of(len(niters)), Distances(raw, []), Distances(aligned, []))
