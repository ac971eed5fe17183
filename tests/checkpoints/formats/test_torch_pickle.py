"""What torch.save wrote, read without running it."""

import collections
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from ptyconv_cli.checkpoints.formats.torch_pickle import Saved, StandIn


def content(value, protocol=2):
    buffer = io.BytesIO()
    torch.save(value, buffer, pickle_protocol=protocol)
    return buffer.getvalue()


def packed(pickled, **entries):
    """An archive as torch.save writes it, with any pickle in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, numbers in entries.items():
            archive.writestr(f"archive/{name}", numbers)
    return buffer.getvalue()


def read(value, protocol=2):
    saved = Saved(content({"value": value}, protocol))
    return saved.numbers(saved.root["value"])


KINDS = ["float16", "float32", "float64", "complex64", "complex128", "uint8", "int8", "int16", "int32", "int64", "bool"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_of_every_kind(kind, protocol):
    tensor = torch.arange(12).reshape(3, 4).to(getattr(torch, kind))
    found = read(tensor, protocol)
    assert found.dtype == np.dtype(kind)
    assert np.array_equal(found, tensor.numpy())


@pytest.mark.parametrize(
    "view",
    [
        lambda tensor: tensor.T,
        lambda tensor: tensor[1:, ::2],
        lambda tensor: tensor[2, 3],
        lambda tensor: tensor.conj(),
        lambda tensor: tensor[:0],
        lambda tensor: torch.nn.Parameter(tensor),
    ],
)
def test_views_of_tensors(view):
    tensor = view(torch.arange(12).reshape(3, 4) * (1 + 2j))
    assert np.array_equal(read(tensor), tensor.detach().resolve_conj().numpy())


@pytest.mark.parametrize(
    "value",
    [
        np.float32(1.5),
        np.int64(-3),
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype="i4").reshape(2, 3)),
        np.arange(3, dtype=">f8"),
        (0.25, 0.5),
        [1, np.float64(2.5), torch.tensor(3.5)],
        7,
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_numbers_of_other_kinds(value, protocol):
    expected = [float(one) for one in value] if isinstance(value, list) else value
    assert np.array_equal(read(value, protocol), expected)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.zeros(3, dtype=torch.bfloat16), "tensors of BFloat16Storage are not read"),
        (torch.zeros(1).expand(10**12), r"a tensor of shape \(1000000000000,\) is larger than what is stored of it"),
        (np.array(["text"]), "expected a type of plain numbers, found numpy.dtype"),
        (np.array([None]), "expected bytes, found a list"),
        (None, "expected numbers, found nothing"),
        ("text", "expected numbers, found a str"),
        (print, r"expected numbers, found (builtins|__builtin__).print"),
        (["a"], "expected numbers, found a str"),
        (collections.Counter("aab"), "expected numbers, found collections.Counter"),
    ],
)
def test_what_is_no_number_is_said(value, said):
    with pytest.raises(ValueError, match=said):
        read(value)


def test_a_list_that_holds_itself_ends():
    forever = []
    forever.append(forever)
    with pytest.raises(ValueError, match="lists of lists"):
        read(forever)


def test_containers_are_theirs_and_all_else_stands_in():
    value = {
        "ordered": collections.OrderedDict(a=1),
        "default": collections.defaultdict(list, b=[2]),
        "set": {3},
        "nested": [(4, {5: "six"}), b"seven", True, None, 8.5, 10**30],
        "object": io.StringIO("x"),
    }
    saved = Saved(content(value))
    assert saved.root.pop("object").name.endswith("StringIO")
    assert saved.root.pop("set").arguments == ([3],)
    nested = saved.root["nested"].copy()
    assert nested.pop(1).name == "_codecs.encode"  # as protocol 2 writes bytes
    assert nested == [(4, {5: "six"}), True, None, 8.5, 10**30]
    assert {name: saved.root[name] for name in ("ordered", "default")} == {"ordered": {"a": 1}, "default": {"b": [2]}}
    assert saved.unfamiliar() == ["_io.StringIO"]


@pytest.mark.parametrize(
    "pickled",
    [
        b"cos\nsystem\n(X\x04\x00\x00\x00exittR.",  # GLOBAL and REDUCE
        b"(X\x04\x00\x00\x00exitios\nsystem\n.",  # INST
        b"(cos\nsystem\nX\x04\x00\x00\x00exito.",  # OBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04exit\x85R.",  # STACK_GLOBAL
        b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00exit\x85\x81.",  # NEWOBJ
        b"\x80\x04cos\nsystem\n)}\x92.",  # NEWOBJ_EX
    ],
)
def test_every_way_to_call_is_inert(pickled, monkeypatch):
    monkeypatch.setattr(os, "system", lambda _: pytest.fail("was called"))
    saved = Saved(packed(pickled))
    assert isinstance(saved.root, StandIn)
    assert saved.unfamiliar() == ["os.system"]


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02\x82\x01.",  # EXT1
        b"P1\n.",  # PERSID
        b"\x80\x02N2\x86R.",  # DUP
        b"\x80\x02NQ.",  # what is no storage
        b"\x80\x02NN\x86NR.",  # a call of nothing
        b"\x80\x02K\x01K\x02R.",
        b"\x80\x02h\x09.",  # what was never met
        b"\x80\x02t.",  # no mark
        b"\x80\x02}]Ns.",  # a list as a key
        b"\x80\x02N",  # no end
        b"\x80\x02X\xff\xff\xff\xffa.",  # longer than the file
        b"",
    ],
)
def test_what_makes_no_sense_is_an_error(pickled):
    with pytest.raises((ValueError, KeyError, IndexError, TypeError)):
        Saved(packed(pickled))


@pytest.mark.parametrize(("shape", "strides", "offset"), [((2,), (-1,), 1), ((2, 2), (1,), 0), ((5,), (1,), 0)])
def test_a_tensor_beyond_its_numbers_is_an_error(shape, strides, offset):
    class Wrong:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (STORAGE, offset, shape, strides, False, {})

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, "0", "cpu", 4) if value is STORAGE else None

    STORAGE = object()
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(Wrong())
    saved = Saved(packed(buffer.getvalue(), **{"data/0": bytes(16)}))
    with pytest.raises(ValueError, match="a tensor "):
        saved.numbers(saved.root)


def test_another_order_of_bytes():
    numbers = packed(
        zipfile.ZipFile(io.BytesIO(content(torch.arange(3.0)))).read("archive/data.pkl"),
        **{"data/0": np.arange(3, dtype=">f4").tobytes(), "byteorder": "big"},
    )
    saved = Saved(numbers)
    assert saved.numbers(saved.root).tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["quantem.core.x.Y", "torch.nn.modules.linear.Linear", "numpy.random._pcg64.PCG64"])
def test_what_modules_are_made_of_is_familiar(name):
    assert Saved(packed(f"c{name.rpartition('.')[0]}\n{name.rpartition('.')[2]}\n.".encode())).unfamiliar() == []


@pytest.mark.parametrize(
    "name", ["torch.hub.load", "torch.load", "builtins.eval", "posix.system", "numpy.f2py.compile"]
)
def test_what_could_run_code_is_not(name):
    module, _, function = name.rpartition(".")
    assert Saved(packed(f"c{module}\n{function}\n.".encode())).unfamiliar() == [name]
