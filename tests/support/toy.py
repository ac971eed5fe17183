"""A small model with the attributes of PtyRAD's, optimised in place, and checkpoints in the engine's layouts."""

from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np
import torch

PROBE_SIZE = (6, 8)


class ToyModel:
    """Fits noise: what it converges to doesn't matter, only that every tensor changes in place."""

    def __init__(self, seed: int = 0, device: str = "cpu", omodes: int = 2, slices: int = 3) -> None:
        noise = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=noise)

        corners = torch.stack(torch.meshgrid(torch.arange(0, 15, 3), torch.arange(1, 19, 3), indexing="ij"), -1)
        self.crop_pos = corners.reshape(-1, 2).to(torch.int32).to(device)
        self.dx = torch.tensor(0.25, device=device)
        shape = (omodes, slices, 22, 26)
        start = {
            "obja": 1 + 0.05 * draw(*shape),
            "objp": 0.3 * draw(*shape),
            "probe": draw(2, *PROBE_SIZE, 2),
            "probe_pos_shifts": 0.1 * draw(len(self.crop_pos), 2),
        }
        goal = {name: draw(*tensor.shape) for name, tensor in start.items()}
        self._goal = {name: tensor.to(device) for name, tensor in goal.items()}
        self.optimizable_tensors = {
            name: torch.nn.Parameter(tensor.to(device), requires_grad=True) for name, tensor in start.items()
        }
        self.convergence_iters: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self._updates = 0
        self._moments = [
            (tensor, 0 * tensor.detach(), 0 * tensor.detach()) for tensor in self.optimizable_tensors.values()
        ]

    def get_complex_probe_view(self) -> torch.Tensor:
        return torch.view_as_complex(self.optimizable_tensors["probe"])

    def update(self) -> None:
        """Make a step of Adam, by hand: at its first use torch.optim loads a thousand modules."""
        for tensor, _, _ in self._moments:
            tensor.grad = None
        loss = sum((tensor - self._goal[name]).square().mean() for name, tensor in self.optimizable_tensors.items())
        loss.backward()
        self._updates += 1
        for tensor, mean, square in self._moments:
            if tensor.grad is not None:
                mean.mul_(0.9).add_(tensor.grad, alpha=0.1)
                square.mul_(0.999).addcmul_(tensor.grad, tensor.grad, value=0.001)
                size = (square / (1 - 0.999**self._updates)).sqrt_().add_(1e-8)
                tensor.data.addcdiv_(mean, size, value=-0.01 / (1 - 0.9**self._updates))

    def arrays(self) -> dict[str, np.ndarray]:
        tensors = {**self.optimizable_tensors, "probe": self.get_complex_probe_view()}
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}


def write_hdf5(path: Path, model: ToyModel, niter: int) -> None:
    with h5py.File(path, "w") as file:
        file["niter"] = niter
        file["ptyrad_version"] = "1.0.0"
        file["model_attributes/crop_pos"] = model.crop_pos.cpu().numpy()
        file["model_attributes/dx"] = model.dx.cpu().numpy()
        file["loss_iters"] = np.array([[n, 1 / n] for n in range(1, niter + 1)], dtype=np.float64).reshape(-1, 2)
        for name, array in model.arrays().items():
            file[f"optimizable_tensors/{name}"] = array


def write_pt(path: Path, model: ToyModel, niter: int) -> None:
    content = {
        "optimizable_tensors": {name: torch.from_numpy(array) for name, array in model.arrays().items()},
        "model_attributes": {"crop_pos": model.crop_pos.cpu(), "dx": model.dx.cpu()},
        "loss_iters": [(n, np.float32(1 / n)) for n in range(1, niter + 1)],
        "dz_iters": [],
        "niter": niter,
    }
    torch.save(content, path)


def write_run(folder: Path, niters: list[int], writer=write_hdf5, suffix: str = ".hdf5") -> ToyModel:
    """Write checkpoints at the given iterations of a toy run; return the model at its end."""
    model = ToyModel()
    folder.mkdir(exist_ok=True)
    last = 0
    for niter in niters:
        for _ in range(min(niter - last, 20)):
            model.update()
        writer(folder / f"model_iter{niter:04d}{suffix}", model, niter)
        last = niter
    return model
