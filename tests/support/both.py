"""Arrays for tests that run the same lines with numpy and with torch: see `tests/metrics/conftest.py`."""

import numpy as np
import torch

library = "numpy"


def array(values, dtype=np.float32):
    """Return a copy of values as an array of the library whose turn it is."""
    found = np.array(values, dtype)
    return found if library == "numpy" else torch.from_numpy(found)


def host(values) -> np.ndarray:
    return np.asarray(values)
