"""What torch.save wrote, read without running it: tensors and plain numbers; all else becomes an inert stand-in.

A pickle is a program that says what to look up and to call. Here it is followed step by step, but nothing is ever
looked up and nothing called: a `StandIn` notes the name and what it was to be called with.
"""

import io
import math
import pickletools
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ptyconv_cli.checkpoints.formats.limits import MOST_TEXT, most_steps

STORAGES = {
    **{"HalfStorage": "f2", "FloatStorage": "f4", "DoubleStorage": "f8"},
    **{"ComplexFloatStorage": "c8", "ComplexDoubleStorage": "c16"},
    **{"ByteStorage": "u1", "CharStorage": "i1", "ShortStorage": "i2", "IntStorage": "i4", "LongStorage": "i8"},
    "BoolStorage": "?",
}
"""numpy's types, by torch's names of storages."""

PLAIN = re.compile(r"[<>|=](\?|[biu][1248]|f[248]|c8|c16)")
"""numpy's types of plain numbers."""

FAMILIAR = re.compile(
    r"quantem\..*|torch\.(nn|optim)\..*|torch\._utils\._rebuild_\w+|torch\.(_C\.Generator|\w+Storage|device|Size)"
    r"|torch\.(u?int|float|bfloat|complex|bool)\d*|numpy\.(random\..*|ndarray|dtype)"
    r"|numpy\.(_core|core)\.(multiarray|numeric)\.(_reconstruct|scalar|_frombuffer)"
    r"|collections\.(OrderedDict|defaultdict|deque)|_codecs\.encode|copyreg\._reconstructor|functools\.partial"
    r"|pathlib\.(\w*Path|_local\.\w*Path)"
    r"|(builtins|__builtin__)\.(set|frozenset|dict|list|tuple|int|float|complex|bool|str|bytes|bytearray|slice|range"
    r"|object|getattr)"
)
"""Names that the modules of an engine are made of."""


class StandIn:
    """A class or function that a pickle names, or what came of calling it; never looked up, and never called.

    `name`: as in "torch.nn.Module"; of a call that of what was to be called, with its `arguments`. `state`: what it was
    to be filled with.
    """

    def __init__(self, name: str, arguments: tuple[Any, ...] | None = None) -> None:
        self.name, self.arguments = name, arguments
        self.state: Any = {}


class Storage(NamedTuple):
    """The numbers of tensors: the name of a file in the archive, and their kind."""

    key: str
    kind: str


class Tensor(NamedTuple):
    """A tensor, not yet read; `metadata` may say that it is conjugated."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    metadata: Any = None


class Saved:
    """The content of a file of torch.save.

    `root`: what was saved, with `Tensor` and `StandIn` in it; `names`: all that loading it would have looked up. It is
    a file, or in one, of `file_size` bytes.

    Raises ValueError, or whatever a damaged file makes zipfile or pickletools raise.
    """

    def __init__(self, content: bytes, file_size: int | None = None) -> None:
        self._archive = zipfile.ZipFile(io.BytesIO(content))
        entries = self._archive.infolist()
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > len(content):
            raise ValueError("an archive of PyTorch is not compressed, but this one is")
        (pickled,) = (entry.filename for entry in entries if entry.filename.endswith("/data.pkl"))
        self._folder = pickled.removesuffix("data.pkl")
        self._big_endian = self._text("byteorder") == "big"
        self._contents: dict[str, bytes] = {}
        machine = _Machine(most_steps(min(len(content), file_size or len(content))))
        self.root = machine.run(self._archive.read(pickled))
        self.names = machine.names

    def unfamiliar(self) -> list[str]:
        """Return the names that no module of an engine needs: such may be there to run code."""
        return [name for name in self.names if not FAMILIAR.fullmatch(name)]

    def numbers(self, value: Any) -> np.ndarray:
        """Return a tensor, an array or scalar of numpy, a number or several; raise ValueError for anything else."""
        if isinstance(value, Tensor):
            return self._read(value)
        if isinstance(value, StandIn):
            return _of_numpy(value)
        if isinstance(value, list | tuple) and len(value) < 1000:
            if any(type(one) in (list, tuple) for one in value):  # which may refer to itself
                raise ValueError("expected numbers, found lists of lists")
            return np.array([float(self.numbers(one)) for one in value])
        if isinstance(value, int | float):
            return np.array(float(value))
        raise ValueError(f"expected numbers, found {describe(value)}")

    def _read(self, tensor: Tensor) -> np.ndarray:
        if tensor.storage.kind not in STORAGES:
            raise ValueError(f"tensors of {tensor.storage.kind} are not read")
        key = tensor.storage.key
        if key not in self._contents:  # a list may name the same numbers again and again
            self._contents = {key: self._archive.read(f"{self._folder}data/{key}")}
        content = self._contents[key]
        stored = np.frombuffer(content, np.dtype((">" if self._big_endian else "<") + STORAGES[tensor.storage.kind]))
        shape, strides, offset = tensor.shape, tensor.strides, tensor.offset
        if len(shape) != len(strides) or min((*shape, *strides, offset)) < 0:
            raise ValueError(f"a tensor has shape {shape} and strides {strides}")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if math.prod(shape) and (last >= stored.size or math.prod(shape) > stored.size):
            raise ValueError(f"a tensor of shape {shape} is larger than what is stored of it")
        if not math.prod(shape):
            return np.zeros(shape, stored.dtype)
        in_bytes = [stride * stored.itemsize for stride in strides]
        array = np.array(np.lib.stride_tricks.as_strided(stored[offset:], shape, in_bytes, writeable=False))
        metadata = tensor.metadata if isinstance(tensor.metadata, dict) else {}
        array = array.conj() if metadata.get("conj") else array
        return -array if metadata.get("neg") else array

    def _text(self, name: str) -> str:
        names = self._archive.namelist()
        return self._archive.read(self._folder + name).decode() if self._folder + name in names else ""


def describe(value: Any) -> str:
    """Say what a value is, in a few words."""
    if isinstance(value, StandIn):
        return value.name
    return "nothing" if value is None else f"a {type(value).__name__}"


def _of_numpy(value: StandIn) -> np.ndarray:
    """Return an array or a scalar of numpy; raise ValueError where it is none."""
    called = value.name.rpartition(".")[2] if value.name.startswith("numpy.") else ""
    if called == "scalar" and value.arguments and len(value.arguments) == 2:
        kind, content = value.arguments
        return np.frombuffer(_bytes(content), _dtype(kind)).reshape(())
    if called == "_reconstruct" and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, kind, in_columns, content = value.state
        return np.frombuffer(_bytes(content), _dtype(kind)).reshape(shape, order="F" if in_columns else "C")
    raise ValueError(f"expected numbers, found {value.name}")


def _dtype(value: Any) -> np.dtype[Any]:
    """Return a type of plain numbers; its byte order is in the state of its stand-in."""
    of_dtype = isinstance(value, StandIn) and value.name == "numpy.dtype" and value.arguments
    if of_dtype and isinstance(value.arguments[0], str):
        order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "="
        text = f"{order}{value.arguments[0]}" if isinstance(order, str) else ""
        if PLAIN.fullmatch(text):
            return np.dtype(text)
    raise ValueError(f"expected a type of plain numbers, found {describe(value)}")


def _bytes(value: Any) -> bytes:
    """Return bytes, which older pickles hold as text."""
    if isinstance(value, StandIn) and value.name == "_codecs.encode" and value.arguments:
        text = value.arguments[0]
        value = text.encode("latin1") if isinstance(text, str) else text
    if not isinstance(value, bytes):
        raise ValueError(f"expected bytes, found {describe(value)}")
    return value


PUSHED = frozenset(
    (
        *("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
"""The steps that only push what they are given."""

MADE: Mapping[str, Callable[[], Any]] = {
    **{"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False},
    **{"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list},
}
"""The steps that push something new. A set becomes a list."""

DICTS = ("OrderedDict", "defaultdict")
CONTAINERS = ("set", "frozenset", "Counter", "bytearray", *DICTS)
"""What PyTorch calls with what a pickle gives."""

MAPPINGS = ("collections.OrderedDict", "collections.defaultdict")
"""What becomes a dict."""


class _Machine:
    """Follows a pickle. Steps that it does not know, and all that make no sense, raise an error."""

    def __init__(self, most: int, called: Callable[[str, Any], None] = lambda name, arguments: None) -> None:
        self._most, self._called = most, called
        self._names: dict[str, None] = {}
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}

    @property
    def names(self) -> list[str]:
        """All that loading it would have looked up."""
        return list(self._names)

    def run(self, pickled: bytes) -> Any:
        """Return what a pickle makes."""
        for number, (step, given, _) in enumerate(pickletools.genops(pickled)):
            if number > self._most:
                raise ValueError("a pickle has more steps than the numbers in the file need")
            name = step.name
            if name == "STOP":
                return self._stack.pop()
            if name in PUSHED:
                self._stack.append(given)
            elif name in MADE:
                self._stack.append(MADE[name]())
            elif name not in ("PROTO", "FRAME"):
                getattr(self, f"_{name.lower()}", self._unknown(name))(given)
        raise ValueError("a pickle has no end")

    def _unknown(self, name: str) -> Callable[[Any], None]:
        def refuse(_: Any) -> None:
            raise ValueError(f"a pickle has a step that torch.save never writes ({name})")

        return refuse

    # --- containers ---------------------------------------------------------------------------------------------------

    def _mark(self, _: Any) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _tuple(self, _: Any) -> None:
        items = tuple(self._since_mark())
        self._stack.append(items)

    def _tuple1(self, _: Any) -> None:
        self._stack.append((self._stack.pop(),))

    def _tuple2(self, _: Any) -> None:
        self._stack[-2:] = [tuple(self._stack[-2:])]

    def _tuple3(self, _: Any) -> None:
        self._stack[-3:] = [tuple(self._stack[-3:])]

    def _list(self, _: Any) -> None:
        items = self._since_mark()
        self._stack.append(items)

    _frozenset = _list

    def _dict(self, _: Any) -> None:
        items = self._since_mark()
        self._stack.append(_pairs(items))

    def _append(self, _: Any) -> None:
        item = self._stack.pop()
        self._add([item])

    def _appends(self, _: Any) -> None:
        self._add(self._since_mark())

    def _additems(self, _: Any) -> None:
        items = self._since_mark()
        if not all(map(_is_plain_key, items)):
            raise ValueError("a set has items that are tuples of tuples")
        self._add(items)

    def _add(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(items)

    def _setitem(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _setitems(self, _: Any) -> None:
        self._set(self._since_mark())

    def _set(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], dict):
            self._stack[-1].update(_pairs(items))

    def _pop(self, _: Any) -> None:
        self._stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    # --- what was met before ------------------------------------------------------------------------------------------

    def _put(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: Any) -> None:
        self._put(len(self._memo))

    def _get(self, place: int) -> None:
        self._stack.append(self._memo[place])

    _binget = _long_binget = _get

    # --- what a pickle would look up, call and fill -------------------------------------------------------------------

    def _name(self, name: str) -> None:
        if len(name) > MOST_TEXT:
            raise ValueError("a pickle names something in more letters than any name has")
        self._names[name] = None
        self._stack.append(StandIn(name))

    def _global(self, given: str) -> None:
        self._name(given.replace(" ", "."))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a pickle names something by what is no name")
        self._name(f"{module}.{name}")

    def _reduce(self, _: Any) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        if isinstance(called, StandIn):
            self._called(called.name, arguments)
        self._stack.append(_instead_of_calling(called, arguments))

    _newobj = _reduce

    def _newobj_ex(self, _: Any) -> None:
        self._stack.pop()  # named arguments
        self._reduce(None)

    def _obj(self, _: Any) -> None:
        called, *arguments = self._since_mark()
        self._stack.append(_instead_of_calling(called, tuple(arguments)))

    def _inst(self, given: str) -> None:
        arguments = tuple(self._since_mark())
        self._global(given)
        self._stack.append(_instead_of_calling(self._stack.pop(), arguments))

    def _build(self, _: Any) -> None:
        state = self._stack.pop()
        if isinstance(self._stack[-1], StandIn):
            self._stack[-1].state = state

    def _binpersid(self, _: Any) -> None:
        match self._stack.pop():
            case ("storage", StandIn() as kind, str(key), _, int()):
                self._stack.append(Storage(key, kind.name.removeprefix("torch.")))
            case other:
                raise ValueError(f"expected the numbers of a tensor, found {describe(other)}")


def _instead_of_calling(called: Any, arguments: Any) -> Any:
    """Return what a pickle's call would make where that is a tensor or a container, else a stand-in."""
    if not isinstance(called, StandIn) or not isinstance(arguments, tuple):
        raise ValueError(f"expected a function and its arguments, found {describe(called)}")
    match called.name, arguments:
        case "torch._utils._rebuild_tensor_v2", (
            Storage() as storage,
            int(offset),
            tuple(shape),
            tuple(strides),
            *rest,
        ):
            return Tensor(storage, offset, shape, strides, rest[2] if len(rest) > 2 else None)
        case (("torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state"), (data, *_)):
            return data
        case name, _ if name in MAPPINGS:
            return {}
    return StandIn(called.name, arguments)


def _pairs(items: list[Any]) -> dict[Any, Any]:
    """Return a dict; raise ValueError for keys that are nested: to hash them may take for ever."""
    if not all(map(_is_plain_key, items[::2])):
        raise ValueError("a dict has keys that are tuples of tuples")
    return dict(zip(items[::2], items[1::2], strict=True))


def _is_plain_key(key: Any, depth: int = 0) -> bool:
    """Say whether a key is at most what a `Tensor` is, as that of an optimizer's state, which has a shape."""
    if not isinstance(key, tuple):
        return True
    return depth < 2 and len(key) < 100 and all(_is_plain_key(one, depth + 1) for one in key)


def check_pickle(pickled: bytes, file_size: int) -> None:
    """Raise ValueError where a pickle in a file, which PyTorch is to load, would take for ever."""
    _Machine(most_steps(file_size), _check_call).run(pickled)


def _check_call(name: str, arguments: Any) -> None:
    """Raise ValueError for a call, which PyTorch would make, of what takes as long, or as much, as it is told to."""
    called = name.rpartition(".")[2]
    if called in CONTAINERS and not all(_is_plain_content(one, called in DICTS) for one in arguments):
        raise ValueError(f"it calls {name} with what may take for ever")


def _is_plain_content(content: Any, in_pairs: bool) -> bool:
    """Say whether what a container is to be filled with is no larger than in the file; a number is how large it is."""
    if not isinstance(content, list | tuple):
        return isinstance(content, dict | bytes | str | StandIn)  # of which the last one holds bytes
    if in_pairs:
        return all(isinstance(one, list | tuple) and len(one) == 2 and _is_plain_key(one[0]) for one in content)
    return all(map(_is_plain_key, content))
