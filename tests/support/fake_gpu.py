"""A GPU that is none: tensors that say they are on one, whose numbers a CPU holds and works on.

It counts what a real one would have to do, refuses to mix devices, runs out of memory where it is told to, and hands
out memory full of NaN. What it cannot say: how long anything takes, and what streams do.
"""

import math
from collections import Counter, OrderedDict
from contextlib import contextmanager
from threading import RLock
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from ptyconv_cli.workers import Workers

ASKS = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "_unique2", "bincount")
"""What makes the host wait for a number, beside copies to it."""

ONLY_LOOKS = ("zeros_like", "new_zeros", "new_full", "full_like", "ones_like", "new_ones")
"""What needs of a tensor only its shape and type."""

GATHERS = ("index", "index_select", "gather")

PASSES = 4
"""Of a sort over its values and their places: of float32, eight bits at a time."""

SECTOR, LINE, PAGE = 32, 1 << 16, 512
"""Bytes: read for a number that stands alone; by which the model of the cache counts; in which memory is given."""


class Gpu:
    """A device with `room` for so many bytes, and a cache that holds `cache` bytes; a `kind` other than cuda has no
    float64.

    `fails`: names of operations that fail, with the error that they raise. Of what it has done since `reset`: `moved`,
    the bytes that operations read and wrote, `from_memory`, those of them that the cache did not have or could not
    keep; `waits` of the host, by operation; `launches`, operations; `late`, copies to the device that did not wait for
    memory that may be gone by then, and are NaN; `peak` bytes in use; `sizes`, of what the host was told, in numbers;
    `ops`, how often each was called, and `kernels`, their full names.
    """

    def __init__(self, cache: int = 50 << 20, room: float = math.inf, kind: str = "cuda") -> None:
        self.room, self.cache, self.live, self.device = room, cache, 0, torch.device(kind, 0)
        torch._C._ensureCUDADeviceGuardSet()  # one that does nothing
        self._one_by_one = RLock()
        self.fails: dict[str, Exception] = {}
        self.blocks: WeakValueDictionary[int, _Block] = WeakValueDictionary()
        self._free: dict[int, list[int]] = {}
        self._end = 0
        self.reset()

    def reset(self) -> None:
        self.moved = self._lines_moved = self._alone = self.launches = self.late = 0
        self.waits, self.sizes, self.ops, self.kernels = list[str](), list[int](), Counter[str](), set[str]()
        self.peak = self.live
        self._cached: OrderedDict[int, bool] = OrderedDict()

    @property
    def from_memory(self) -> int:
        return LINE * (self._lines_moved + sum(self._cached.values())) + self._alone

    def put(self, values) -> "OnGpu":
        """Return an array, or a copy of a tensor, on this device."""
        tensor = torch.from_numpy(values.copy()) if isinstance(values, np.ndarray) else values.detach().clone()
        return OnGpu(tensor, self)

    @contextmanager
    def there(self):
        """Let tensors be made on the device, and copied there, inside the block."""
        stand_ins = {
            (torch.cuda, "_lazy_init"): lambda: None,
            (torch.xpu, "_lazy_init"): lambda: None,
            (torch.Tensor, "pin_memory"): lambda tensor: _pin(tensor),
            (torch.cuda, "empty_cache"): lambda: self.ops.update(["empty_cache"]),
            (torch.cuda, "is_available"): lambda: True,
            (torch.cuda, "device_count"): lambda: 1,
            (torch.cuda, "current_stream"): lambda device=None: self,
            (torch, "ones"): _numbered(torch.ones),
            (torch.Tensor, "to"): _numbered(torch.Tensor.to),
            (Workers, "submit"): self._submitting(Workers.submit),
        }
        before = {at: getattr(*at) for at in stand_ins}
        for (owner, name), stand_in in stand_ins.items():
            setattr(owner, name, stand_in)
        try:
            with _Making(self):
                yield self
        finally:
            for (owner, name), was in before.items():
                setattr(owner, name, was)

    def _submitting(self, submit):
        """Let threads make tensors on the device, too."""

        def work_there(work, *args, **kwargs):
            with _Making(self):
                return work(*args, **kwargs)

        return lambda workers, work, *args, **kwargs: submit(workers, work_there, work, *args, **kwargs)

    def find_room(self, size: int) -> int:
        """Return where memory begins that is in no use: as torch does, what was freed last, of the same size.

        Places are the device's own, not the CPU's, which are others each time.
        """
        if self._free.get(size):
            return self._free[size].pop()
        begin = -(-self._end // LINE) * LINE if size >= LINE else self._end
        self._end = begin + size
        return begin

    def free(self, begin: int, size: int) -> None:
        self._free.setdefault(size, []).append(begin)
        self.live -= size

    def synchronize(self) -> None:
        self.waits.append("synchronize")

    def call(self, func, args, kwargs):
        """Do an operation on the CPU; count what it would do on the device."""
        if func.name() == "prim::device":
            return self.device
        with self._one_by_one, _disable_current_modes():
            return self._call(func, args, kwargs)

    def _call(self, func, args, kwargs):
        name, kwargs = func.overloadpacket.__name__, dict(kwargs or {})
        if name in self.fails:
            error = self.fails[name]
            raise type(error)(*error.args)  # a new one: its traceback keeps what is on the device
        self.ops[name] += 1
        self.kernels.add(func.name().removeprefix("aten::"))
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        ours = {id(leaf.inner): leaf for leaf in given if isinstance(leaf, OnGpu)}
        if name in ("_to_copy", "copy_"):
            to = kwargs.pop("device", None) if name == "_to_copy" else args[0].device
            return self._copy(func, args, kwargs, to or (self.device if ours else torch.device("cpu")), ours)
        mixed = [leaf for leaf in given if not isinstance(leaf, OnGpu) and leaf.dim()]
        if mixed and ours:
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, cuda:0 and cpu")
        if name in ASKS:
            self.waits.append(name)
            self.sizes += [leaf.numel() for leaf in given] if name == "_local_scalar_dense" else []
        if "device" in kwargs:
            kwargs["device"] = "cpu"
        kwargs.pop("pin_memory", None)
        found = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
        made = [leaf for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor)]
        self._check(made, name)
        if name.startswith(("empty", "new_empty")):
            for leaf in made:
                leaf.fill_(math.nan if leaf.is_floating_point() else 77)
        found = tree_map(lambda leaf: self._ours(leaf, ours), found)
        self._count(name, func, args, kwargs, ours, made)
        return found

    def _ours(self, leaf, ours):
        if not isinstance(leaf, torch.Tensor) or isinstance(leaf, OnGpu):
            return leaf
        return ours[id(leaf)] if id(leaf) in ours else OnGpu(leaf, self)

    def _check(self, made, name) -> None:
        if self.device.type != "cuda" and any(leaf.dtype in (torch.float64, torch.complex128) for leaf in made):
            raise TypeError(f"{name}: this device has no float64")

    def _copy(self, func, args, kwargs, to, ours):
        """Copy to, from, or on the device."""
        late = kwargs.pop("non_blocking", False) or (len(args) > 2 and args[2])
        source = args[1] if func.overloadpacket.__name__ == "copy_" else args[0]
        came, goes = isinstance(source, OnGpu), torch.device(to).type != "cpu"
        if came and not goes:
            self.waits.append("copy to host")
            self.sizes.append(source.numel())
        found = func(*tree_map(_inner, args), **kwargs)
        if goes and not came and source.dim():
            if not late:
                self.waits.append("copy to device")
            elif not getattr(source, "stays", False):
                self.late += 1
                found.fill_(math.nan if found.is_floating_point() else -1)
        self._check([found] if goes else [], "copy")
        if not goes:
            return found
        found = self._ours(found, ours)
        self.launches += 1
        if came:
            self._touch(source.inner, False)
        self._touch(found.inner, True)
        return found

    def _count(self, name, func, args, kwargs, ours, made) -> None:
        view = made and all(any(_same_storage(leaf, one.inner) for one in ours.values()) for leaf in made)
        if (view and not func._schema.is_mutable) or name.startswith(("empty", "new_empty")) or name == "lift_fresh":
            return
        self.launches += 1
        out = kwargs.pop("out", None)
        reads = [leaf.inner for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, OnGpu)]
        writes = [leaf.inner for leaf in tree_leaves(out) if isinstance(leaf, OnGpu)] or made
        if name in ("fill_", "zero_", *ONLY_LOOKS):
            reads = []
        if name in GATHERS and reads:
            source, *reads = reads
            self._gather(source, sum(leaf.numel() for leaf in writes))
        whole = bool(reads) and not (reads[0].is_floating_point() or reads[0].is_complex())
        summed_in = kwargs.get("dtype") or (torch.int64 if whole else reads[0].dtype if reads else None)
        if name == "sum" and summed_in != reads[0].dtype:
            copied = reads[0].to(summed_in)  # which torch makes first
            if self.live + copied.numel() * copied.element_size() > self.room:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            self.peak = max(self.peak, self.live + copied.numel() * copied.element_size())
            self._touch(copied, True)
            self._touch(copied, False)
        for _ in range(PASSES if "sort" in name else 1):
            for leaf in reads:
                self._touch(leaf, False)
            for leaf in writes:
                self._touch(leaf, True)

    def _gather(self, source, count: int) -> None:
        """Count numbers that are read one by one."""
        size = source.element_size()
        large = source.numel() * size > self.cache
        self.moved += count * (SECTOR if large else size)
        self._alone += count * SECTOR if large else 0

    def _touch(self, tensor, writes: bool) -> None:
        """Count a tensor that is read, or written, whole."""
        self.moved += tensor.numel() * tensor.element_size()
        block = self.blocks.get(tensor.untyped_storage().data_ptr())
        for line in _lines(tensor, block.begin if block else self.find_room(tensor.untyped_storage().nbytes())):
            if line in self._cached:
                self._cached.move_to_end(line)
                self._cached[line] |= writes
                continue
            self._lines_moved += not writes
            self._cached[line] = writes
            if len(self._cached) * LINE > self.cache:
                self._lines_moved += self._cached.popitem(last=False)[1]


class OnGpu(torch.Tensor):
    """A tensor on a `Gpu`."""

    @staticmethod
    def __new__(cls, inner, gpu):
        with _disable_current_modes():
            return torch.Tensor._make_subclass(cls, inner.to("meta"), False, dispatch_device=True)

    def __init__(self, inner, gpu) -> None:
        self.inner, self.gpu = inner, gpu
        at = inner.untyped_storage().data_ptr()
        self._block = gpu.blocks.get(at) or _Block(gpu, at, inner.untyped_storage().nbytes())

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        gpu = next(leaf.gpu for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, OnGpu))
        return gpu.call(func, args, kwargs)

    @property
    def device(self):
        return self.gpu.device

    @property
    def is_cuda(self):
        return self.gpu.device.type == "cuda"

    def __getitem__(self, place):
        """As torch's own, which needs a library that builds for CPUs lack."""
        found = self.inner[tree_map(_inner, place)]
        if _same_storage(found, self.inner):
            return OnGpu(found, self.gpu)
        if any(isinstance(leaf, torch.Tensor) and not isinstance(leaf, OnGpu) for leaf in tree_leaves(place)):
            raise RuntimeError("index: expected all tensors to be on the same device, cuda:0 and cpu")
        return torch.ops.aten.index.Tensor(self, list(place) if isinstance(place, tuple) else [place])

    def __setitem__(self, place, value):
        here = self[place]
        if isinstance(value, torch.Tensor):
            torch.ops.aten.copy_.default(here, value)
        else:
            here.fill_(value)

    def copy_(self, source, non_blocking=False):
        return torch.ops.aten.copy_.default(self, source, non_blocking)

    def nonzero(self):
        return torch.ops.aten.nonzero.default(self)

    def item(self):
        return torch.ops.aten._local_scalar_dense.default(self)

    def __float__(self):
        return float(self.item())

    def __bool__(self):
        return bool(self.item())

    def tolist(self):
        return self.cpu().tolist()

    def __repr__(self) -> str:
        return f"OnGpu({self.inner})"


class _Block:
    """Memory of the device that is in use for as long as this object is."""

    def __init__(self, gpu: Gpu, at: int, size: int) -> None:
        self._size, self._gpu = -(-size // PAGE) * PAGE, None
        if gpu.live + self._size > gpu.room:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {self._size} bytes.")
        self._gpu, self.begin = gpu, gpu.find_room(self._size)
        gpu.live += self._size
        gpu.peak = max(gpu.peak, gpu.live)
        if at:
            gpu.blocks[at] = self

    def __del__(self) -> None:
        if self._gpu:
            self._gpu.free(self.begin, self._size)


class _Making(TorchDispatchMode):
    """Makes tensors on the device, of what is on the CPU or of nothing."""

    def __init__(self, gpu: Gpu) -> None:
        super().__init__()
        self._gpu = gpu

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # else torch loads its compiler
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        to = (kwargs or {}).get("device")
        ours = any(isinstance(leaf, OnGpu) for leaf in tree_leaves((args, kwargs)))
        if ours or (to is not None and torch.device(to).type != "cpu"):
            return self._gpu.call(func, args, kwargs)
        return func(*args, **(kwargs or {}))


def _pin(tensor):
    pinned = tensor.clone()
    pinned.stays = True  # torch keeps it until it is copied
    return pinned


def _numbered(function):
    """Give a device its number, which torch asks a library for that builds for CPUs lack."""

    def call(*args, **kwargs):
        args, kwargs = tree_map(lambda leaf: "cuda:0" if type(leaf) is str and leaf == "cuda" else leaf, (args, kwargs))
        return function(*args, **kwargs)

    return call


def _inner(leaf):
    return leaf.inner if isinstance(leaf, OnGpu) else leaf


def _same_storage(one, other) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() and one.numel() > 0


def _lines(tensor, begin: int) -> list[int]:
    """Return the lines of the cache that a tensor lies on, whose memory begins at a place of the device."""
    if tensor.numel() == 0:
        return []
    size, run = tensor.element_size(), 1
    starts = np.zeros(1, np.int64)
    for length, stride in sorted(zip(tensor.shape, tensor.stride(), strict=True), key=lambda pair: pair[1]):
        if length == 1 or stride == 0:
            continue
        if stride == run and len(starts) == 1:
            run *= length
        else:
            starts = (starts[:, None] + stride * np.arange(length)).ravel()
    starts = begin + size * (tensor.storage_offset() + starts)
    first, last = starts // LINE, (starts + size * run - 1) // LINE
    longest = int((last - first).max()) + 1
    lines = first[:, None] + np.arange(longest)
    return np.unique(lines[lines <= last[:, None]]).tolist()
