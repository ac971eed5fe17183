"""Models of an engine on a GPU that is none."""

from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import torch
from toy import ToyModel


def toy_on(gpu, **options):
    """Return a toy model that is on a GPU; its updates are done on the CPU, and are no business of the GPU's."""
    toy = ToyModel(**options)
    model = SimpleNamespace(convergence_iters=defaultdict(list), dx=toy.dx, crop_pos=toy.crop_pos)
    model.arrays = toy.arrays

    def put():
        model.optimizable_tensors = {name: gpu.put(tensor) for name, tensor in toy.optimizable_tensors.items()}
        probe = gpu.put(toy.get_complex_probe_view())
        model.get_complex_probe_view = lambda: probe

    def update():
        with torch.enable_grad():
            toy.update()
        put()

    put()
    model.update = update
    return model


def large_on(gpu, shape, clipped=False):
    """Return a model of an object (omode, slice, y, x) with a scan all over it but for 8 px at the edges."""
    random = np.random.default_rng(0)
    height, width = shape[-2:]
    corners = [[y, x] for y in (1, height - 40) for x in (1, width - 40)]
    tensors = {
        "obja": random.normal(1, 0.1, shape).astype(np.float32),
        "objp": random.normal(0, 0.1, shape).astype(np.float32),
        "probe": random.normal(size=(2, 32, 32)).astype(np.float32) + 0j,
        "probe_pos_shifts": random.normal(size=(4, 2)).astype(np.float32),
    }
    model = SimpleNamespace(convergence_iters=defaultdict(list), dx=0.25, crop_pos=torch.tensor(corners))

    def update():
        """Change everything by 1 %, so that every second voxel may be at one of the ends that it is clipped to."""
        for name, values in tensors.items():
            tensors[name] = values + np.float32(0.001) * random.standard_normal(values.shape, np.float32)
        values = dict(tensors)
        if clipped:
            values["obja"], values["objp"] = np.clip(values["obja"], 0.93, 1.07), np.clip(values["objp"], -0.07, 0.07)
        model.optimizable_tensors = {name: gpu.put(array) for name, array in values.items()}
        model.get_complex_probe_view = lambda: model.optimizable_tensors["probe"]

    update()
    model.update = update
    return model
