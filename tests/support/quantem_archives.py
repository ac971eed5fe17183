"""Writes archives in quantem's layout, with modules of torch in them, though not with quantem.

python tests/support/quantem_archives.py FOLDER   a series of archives without snapshots
"""

import io
import sys
import types
from pathlib import Path

import numpy as np
import torch
import zarr
from zarr.codecs import BloscCodec
from zarr.storage import LocalStore, ZipStore


def made_up(*shape: int, count: int = 4, seed: int = 1, real: bool = False) -> np.ndarray:
    """Objects or probes (count, …, y, x) that change ever less."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, *shape)) / 3.0 ** np.arange(count).reshape(-1, *[1] * len(shape))
    phase = np.broadcast_to(rng.normal(size=shape), noise.shape) * 0.2 + 0.1 * noise
    return phase.astype("f4") if real else ((0.9 - 0.1 * noise) * np.exp(1j * phase)).astype("c8")


def _class(module: str, name: str) -> type:
    """A class that a pickle names as one of quantem's, which need not be installed."""
    parts = module.split(".")
    for place in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:place]), types.ModuleType(".".join(parts[:place])))
    made = type(name, (torch.nn.Module,), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


def saved(value: object) -> np.ndarray:
    """What torch.save makes of a value, as bytes."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def optimizer() -> torch.optim.AdamW:
    """An optimizer as it is stored: to make one in earnest loads a thousand modules."""
    made = torch.optim.AdamW.__new__(torch.optim.AdamW)
    made.__setstate__({"defaults": {}, "state": {}, "param_groups": [{"params": [torch.zeros(1)], "lr": 1e-3}]})
    return made


def module(name: str, parameters: dict[str, np.ndarray], **attributes: object) -> np.ndarray:
    """A saved module; `name`: as in "object_models.ObjectPixelated"."""
    kind, _, called = name.rpartition(".")
    made = _class(f"quantem.diffractive_imaging.{kind}", called)()
    for key, values in parameters.items():
        made.register_parameter(key, torch.nn.Parameter(torch.from_numpy(np.array(values))))
    for key, value in attributes.items():
        setattr(made, key, value)
    content = saved(made)
    for name in [name for name in sys.modules if name.split(".")[0] == "quantem"]:
        del sys.modules[name]
    return content


def write(
    path: Path,
    objects: np.ndarray,
    probes: np.ndarray,
    *,
    niters: list[int] | None = None,
    iterations: int | None = None,
    object_type: str = "complex",
    positions: np.ndarray | None = None,
    **of_object: object,
) -> Path:
    """Write an archive, a zip file or, for a name without a suffix, a folder.

    `objects` (n, slice, y, x) and `probes` (n, mode, y, x), whose middle is in the corner: snapshots at `niters`; of
    none, the archive has only its end, which is the last of them. `of_object`: attributes of the object's module.
    """
    niters = niters or []
    iterations = iterations or niters[-1]
    store = ZipStore(path, mode="w") if path.suffix == ".zip" else LocalStore(path)
    root = zarr.create_group(store, zarr_format=3, attributes={"_autoserialize": {"class_module": "quantem.x"}})
    blosc = BloscCodec(typesize=8, cname="zstd", clevel=4, shuffle="bitshuffle")

    def put(name: str, values: np.ndarray, packed: bool = True) -> None:
        root.create_array(name, data=np.asarray(values), compressors=blosc if packed else None, chunks=values.shape)

    for place, niter in enumerate(niters):
        root.create_group(f"_snapshots/{place}", attributes={"iteration": niter})
        put(f"_snapshots/{place}/obj", objects[place])
        put(f"_snapshots/{place}/probe", probes[place])
    slices = objects.shape[1]
    attributes = {
        "_sampling": (0.25, 0.25),
        "_slice_thicknesses": torch.full((slices - 1,), 8.0),
        "_obj_type": object_type,
        "_optimizer": optimizer(),
        "_rng": np.random.default_rng(3),
        **of_object,
    }
    put("_obj_model/module", module("object_models.ObjectPixelated", {"_obj": objects[-1]}, **attributes), False)
    put("_probe_model/module", module("probe_models.ProbePixelated", {"_probe": probes[-1]}), False)
    if positions is not None:
        put("_dataset_metadata/learned_scan_positions_px/tensor", saved(torch.from_numpy(positions)), False)
    put("_obj_padding_px", np.array([3, 4], "i2"))
    put("_iter_losses/values", 1 / np.arange(1.0, iterations + 1))
    put("_iter_lrs/object/values", np.full(iterations, 0.005))
    put("_iter_lrs/dataset/values", np.zeros(iterations))
    store.close()
    return path


def write_series(folder: Path) -> None:
    """Write four archives without snapshots, after_10.zip to after_40.zip."""
    objects, probes = made_up(2, 16, 17), made_up(2, 8, 8)
    for count in (1, 2, 3, 4):
        where = np.random.default_rng(0).uniform(3, 12, (9, 2)) + 0.02 * count**2
        path = folder / f"after_{10 * count}.zip"
        write(path, objects[:count], probes[:count], iterations=10 * count, positions=where.astype("f4"))


if __name__ == "__main__":
    write_series(Path(sys.argv[1]))
