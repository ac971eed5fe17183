"""Files of at most 2 MB that claim to hold far more, each made of a real one: by what each does."""

import io
import json
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from damage import repacked
from runs import DATA, SAMPLE, SAMPLE_PT

ENGINES = DATA / "engines"
PTYRAD = SAMPLE / "model_iter0010.hdf5"
PTYCHODUS = ENGINES / "ptychodus" / "product.000008.h5"
PTYLAB = ENGINES / "ptylab" / "recon_0005.hdf5"
PTYPY = next((ENGINES / "ptypy").glob("autosave/recons/*/*.ptyr"))
PY4DSTEM = ENGINES / "py4DSTEM" / "single_complex" / "ptycho.h5"
QUANTEM = ENGINES / "quantem" / "snapshots_complex" / "ptycho.zip"
PT = min(SAMPLE_PT.glob("*.pt"))

Spoil = Callable[[Path], None]


def zeros_packed(count: int) -> bytes:
    """So many bytes of zero as zlib packs them."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(count >> 20)) + packer.flush()


def one_large_chunk(name: str, kind: str, *rest: int) -> Spoil:
    """A dataset of 40 rows in a chunk of 600 MB."""

    def spoil(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            rows = (600 << 20) // (np.dtype(kind).itemsize * int(np.prod(rest)))
            made = file.create_dataset(
                name, (40, *rest), kind, chunks=(rows, *rest), maxshape=(None, *rest), compression="gzip"
            )
            made.id.write_direct_chunk((0,) * made.ndim, zeros_packed(rows * made.dtype.itemsize * int(np.prod(rest))))

    return spoil


def many_zeros(name: str, kind: str, *rest: int) -> Spoil:
    """A dataset of 1.2 GB of zeros, in chunks that are packed."""

    def spoil(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            if name in file:
                del file[name]
            rows = (1 << 20) // (np.dtype(kind).itemsize * int(np.prod(rest)))
            made = file.create_dataset(name, (1200 * rows, *rest), kind, chunks=(rows, *rest), compression="gzip")
            packed = zeros_packed(1 << 20)
            for number in range(1200):
                made.id.write_direct_chunk((number * rows, *[0] * len(rest)), packed)

    return spoil


def chunks_that_are_not_there(name: str, kind: str, *rest: int) -> Spoil:
    """A dataset of a billion chunks, of which none was written."""

    def spoil(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            file.create_dataset(name, (10**9, *rest), kind, chunks=(1, *rest))

    return spoil


def many_links(group: str, to: str, name: str = "{:06d}") -> Spoil:
    """A group with 13,000 links to one object."""

    def spoil(path: Path) -> None:
        with h5py.File(path, "r+", libver="latest") as file:
            target, group_there = file[to], file.require_group(group)
            for number in range(13_000):
                group_there[name.format(number)] = target

    return spoil


def long_text(name: str, length: int) -> Spoil:
    def spoil(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            if name in file:
                del file[name]
            file[name] = "x" * length

    return spoil


def without_labels(file: h5py.File) -> str:
    """Take the labels of its snapshots from a file of py4DSTEM; return their name."""
    (root,) = (f"{name}/{name.removesuffix('_root')}" for name in file if name.endswith("_root"))
    stack = file[f"{root}/_object_iterations_emd/data"]
    name = f"{root}/_object_iterations_emd/dim{stack.ndim - 1}"
    del file[name]
    return name


def one_text_in_a_list(path: Path) -> None:
    """Labels of 30,000 snapshots, all of which are one long text."""
    with h5py.File(path, "r+") as file:
        name = without_labels(file)
        made = file.create_dataset(name, (30_000,), h5py.string_dtype())
        made[0] = "iteration_" + "1" * 800_000
        start = made.id.get_offset()
    content = bytearray(path.read_bytes())
    content[start : start + 16 * 30_000] = content[start : start + 16] * 30_000
    path.write_bytes(content)


def long_way(path: Path) -> None:
    """A link over 200,000 groups, all of which are one."""
    with h5py.File(path, "r+") as file:
        del file["niter"]
        file["a"] = file["/"]
        file["niter"] = h5py.SoftLink("/" + "a/" * 30_000 + "loss_iters")


def long_name(path: Path) -> None:
    with h5py.File(path, "r+", libver="latest") as file:
        file["convergence_iters/" + "x" * 30_000] = file["loss_iters"][()]


def one_curve_many_times(path: Path) -> None:
    """A record of 3,900 names for one curve."""
    with h5py.File(path, "r+", libver="latest") as file:
        del file["convergence_iters"]
        pairs = np.stack([np.arange(1, 400_001), np.ones(400_000)], 1)
        file.create_dataset("convergence_iters/x0", data=pairs, compression="gzip", compression_opts=9)
        for number in range(1, 3900):
            file[f"convergence_iters/x{number}"] = file["convergence_iters/x0"]


def labels_in_one_chunk(path: Path) -> None:
    """700,000 texts of nothing, which are packed as one."""
    with h5py.File(path, "r+") as file:
        name = without_labels(file)
        kind = h5py.string_dtype()
        made = file.create_dataset(name, (700_000,), kind, chunks=(700_000,), compression="gzip")
        made.id.write_direct_chunk((0,), zlib.compress(bytes(16 * 700_000), 9))
        file["filled"] = np.random.default_rng(0).integers(0, 256, 1_200_000, np.uint8)


def many_probes(path: Path) -> None:
    """A probe of eight million position-dependent modes."""
    with h5py.File(path, "r+") as file:
        for name, shape, kind in (("probe", (8_000_000, 1, 1, 1), "c8"), ("opr_weights", (1, 8_000_000), "i1")):
            if name in file:
                del file[name]
            file.create_dataset(name, data=np.zeros(shape, kind), compression="gzip", compression_opts=9)
        file["filled"] = np.random.default_rng(0).integers(0, 256, 1_200_000, np.uint8)


def links_in_a_row(path: Path) -> None:
    """Fourteen links, one after the other, each over two thousand groups, all of which are one."""
    with h5py.File(path, "r+") as file:
        file["a"] = file["/"]
        for group in ("optimizable_tensors", "model_attributes"):
            file.move(group, f"there_{group}")
            for number in range(14):
                to = f"{group}_{number + 1}" if number < 13 else f"there_{group}"
                file[f"{group}_{number}" if number else group] = h5py.SoftLink("/" + "a/" * 2030 + to)


def complex_distances(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        if "object_layer_spacing_m" in file:
            del file["object_layer_spacing_m"]
        file["object_layer_spacing_m"] = np.zeros(3, [("real", "f8"), ("imag", "f8")])


# --- zip files --------------------------------------------------------------------------------------------------------


def in_zip(change: Callable[[dict[str, bytes]], None], how: int = zipfile.ZIP_STORED) -> Spoil:
    """A zip file of whose entries some were changed."""

    return lambda path: repacked(path, path, change, how)


def described(entries: dict[str, bytes], name: str, **change: object) -> None:
    found = json.loads(entries[f"{name}/zarr.json"])
    entries[f"{name}/zarr.json"] = json.dumps(found | change).encode()


def chunks_of(*shape: int) -> dict[str, object]:
    return {"name": "regular", "configuration": {"chunk_shape": list(shape)}}


def long_description(entries: dict[str, bytes]) -> None:
    found = json.loads(entries["zarr.json"])
    found["attributes"]["long"] = [[]] * 330_000
    entries["zarr.json"] = json.dumps(found).encode()


def empty_lists(entries: dict[str, bytes]) -> None:
    found = json.loads(entries["zarr.json"])
    found["attributes"]["long"] = [[]] * 5_000_000
    entries["zarr.json"] = json.dumps(found).encode()


def module_of_zeros(entries: dict[str, bytes]) -> None:
    """As it was packed by blosc, which has a few bytes for each of 1,000 chunks of a megabyte."""
    from numcodecs import Blosc

    packed = Blosc(cname="zstd").encode(bytes(1 << 20))
    codecs = [{"name": "bytes"}, {"name": "blosc", "configuration": {"cname": "zstd", "typesize": 1, "clevel": 4}}]
    codecs[1]["configuration"] |= {"shuffle": "noshuffle", "blocksize": 0}
    described(entries, "_obj_model/module", shape=[1000 << 20], chunk_grid=chunks_of(1 << 20), codecs=codecs)
    for number in range(1000):
        entries[f"_obj_model/module/c/{number}"] = packed


def one_large_chunk_in_zip(codec: str) -> Callable[[dict[str, bytes]], None]:
    """Losses in a chunk that has 600 MB when it is unpacked."""

    def change(entries: dict[str, bytes]) -> None:
        from numcodecs import Blosc, GZip, Zstd

        packer = {"blosc": Blosc(cname="zstd"), "gzip": GZip(9), "zstd": Zstd(9)}[codec]
        given = {"blosc": {"cname": "zstd", "typesize": 8, "clevel": 4, "shuffle": "noshuffle", "blocksize": 0}}
        given |= {"gzip": {"level": 9}, "zstd": {"level": 9, "checksum": False}}
        codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
        codecs.append({"name": codec, "configuration": given[codec]})
        described(entries, "_iter_losses/values", codecs=codecs)
        (content,) = (name for name in entries if name.startswith("_iter_losses/values/c/"))
        entries[content] = packer.encode(bytes(600 << 20))

    return change


def large_chunk_shape(entries: dict[str, bytes]) -> None:
    described(entries, "_iter_losses/values", chunk_grid=chunks_of(1 << 27))


def no_chunks(entries: dict[str, bytes]) -> None:
    described(entries, "_iter_losses/values", shape=[10**9], chunk_grid=chunks_of(1))


def many_snapshots(entries: dict[str, bytes]) -> None:
    """Which hold nothing but their iteration."""
    content = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"iteration": 7}}).encode()
    entries |= {f"_snapshots/{number}/zarr.json": content for number in range(100, 7_000)}


def entry_that_lies(path: Path) -> None:
    """A description of which the table says its true size and checksum, and behind which are 600 MB of blanks."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            if name != "zarr.json":
                archive.writestr(name, content)
                continue
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = packer.compress(content)
            packed += b"".join(packer.compress(b" " * (1 << 20)) for _ in range(600)) + packer.flush()
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.CRC = zipfile.ZIP_DEFLATED, zlib.crc32(content)
            entry.file_size, entry.compress_size, entry.header_offset = len(content), len(packed), archive.fp.tell()
            archive.fp.write(entry.FileHeader(False) + packed)
            archive.filelist.append(entry)
            archive.NameToInfo[name] = entry
            archive.start_dir, archive._didModify = archive.fp.tell(), True


def more_behind(codec: str) -> Callable[[dict[str, bytes]], None]:
    """Losses, and behind them, in the same chunk, another 600 MB as the codec allows."""

    def change(entries: dict[str, bytes]) -> None:
        from numcodecs import GZip, Zstd

        one_large_chunk_in_zip(codec)(entries)
        (content,) = (name for name in entries if name.startswith("_iter_losses/values/c/"))
        (size,) = json.loads(entries["_iter_losses/values/zarr.json"])["shape"]
        packer = {"gzip": GZip(9), "zstd": Zstd(9)}[codec]
        entries[content] = packer.encode(np.linspace(1, 0.1, size)) + entries[content]

    return change


def no_codecs(entries: dict[str, bytes]) -> None:
    described(entries, "_iter_losses/values", codecs=5)


def other_codecs(entries: dict[str, bytes]) -> None:
    described(entries, "_iter_losses/values", codecs=[{"name": "x" * 1_000_000}])


def module_with_many_names(entries: dict[str, bytes]) -> None:
    """Whose pickle names 60,000 things."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", many_names(60_000))
        archive.writestr("archive/byteorder", "little")
    (chunk,) = (name for name in entries if name.startswith("_obj_model/module/c/"))
    entries[chunk] = content.getvalue()
    size = len(entries[chunk])
    described(entries, "_obj_model/module", shape=[size], chunk_grid=chunks_of(size), codecs=[{"name": "bytes"}])


# --- pickles ----------------------------------------------------------------------------------------------------------


def in_pt(pickled: bytes, called: str = "data.pkl") -> Spoil:
    """A file of PyTorch whose pickle is another one, and is `called` so."""

    def spoil(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                is_pickle = name.endswith("/data.pkl")
                archive.writestr(
                    name.replace("data.pkl", called) if is_pickle else name, pickled if is_pickle else content
                )

    return spoil


def two_tables(path: Path) -> None:
    """A zip file in which Python finds one table, and PyTorch another one, with another pickle."""
    names = ("data.pkl", "version", "byteorder")
    parts = []
    for pickled in (nested_key(), pickle.PROTO + b"\x02}X\x05\x00\x00\x00niterK\x05s."):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in zip(names, (pickled, b"3\n", b"little"), strict=True):
                archive.writestr(f"archive/{name}", content)
            start = archive.start_dir
        whole = path.read_bytes()
        parts.append((whole[:start], bytearray(whole[start:-22])))
    (first, of_first), (second, of_second) = parts
    place = 0
    while place < len(of_second):  # as zipfile has them: from where it takes the file to begin
        lengths = struct.unpack_from("<HHH", of_second, place + 28)
        (offset,) = struct.unpack_from("<I", of_second, place + 42)
        struct.pack_into("<I", of_second, place + 42, (offset - len(second)) % (1 << 32))
        place += 46 + sum(lengths)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, len(of_second), len(first), 0)
    path.write_bytes(first + bytes(of_first) + second + bytes(of_second) + end)


def many_names(count: int) -> bytes:
    names = b"".join(b"cmodule\nname%d\n0" % number for number in range(count))
    return pickle.PROTO + b"\x02" + names + b"}."


NEST = b")" + b"q\x00h\x00\x86" * 40
"""A tuple of a tuple, twice, of a tuple, twice …: 40 of them are hashed, or written, as 2^40."""


def nested_key() -> bytes:
    return pickle.PROTO + b"\x02}" + NEST + b"K\x01s."


def calls(name: bytes, argument: bytes) -> bytes:
    return pickle.PROTO + b"\x02}X\x01\x00\x00\x00ac" + name + b"\n" + argument + b"\x85Rs."


def nested_name() -> bytes:
    return pickle.PROTO + b"\x02}" + NEST + b"X\x01\x00\x00\x00a\x93."


def one_list_many_times() -> bytes:
    """A record of 3,000 names for one list of pairs."""
    pair = b"K\x01G" + struct.pack(">d", 1) + b"\x86"
    first = b"X\x04\x00\x00\x00first](" + pair * 60_000 + b"eq\x00"
    record = b"".join(b"X\x04\x00\x00\x00%04dh\x00" % number for number in range(3000))
    niter = b"X\x05\x00\x00\x00niterK\x05s"
    called = b"X\x11\x00\x00\x00convergence_iters"
    return pickle.PROTO + b"\x02}" + niter + called + b"}(" + first.replace(b"first]", b"1st_]") + record + b"us."


def array_of_any_size() -> bytes:
    """An array whose memory is asked for before its content is given."""
    kind = b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + b"J" + struct.pack("<i", 1 << 29) + b"\x85"
    return pickle.PROTO + b"\x02}X\x05\x00\x00\x00niter" + array + kind + b"\x87Rs."


def one_row_many_times() -> bytes:
    """A list of 900,000 rows, all of which are one."""
    row = b"(" + b"K\x01" * 8 + b"tq\x00"
    crops = b"X\x08\x00\x00\x00crop_pos](" + row + b"h\x00" * 900_000 + b"es"
    return pickle.PROTO + b"\x02}X\x10\x00\x00\x00model_attributes}" + crops + b"sX\x05\x00\x00\x00niterK\x05s."


CLAIMS: dict[str, tuple[Path, Spoil]] = {
    "PtyRAD, a large chunk of positions": (PTYRAD, one_large_chunk("model_attributes/crop_pos", "i8", 2)),
    "PtyRAD, a large chunk of losses": (PTYRAD, one_large_chunk("loss_iters", "f8", 2)),
    "PtyRAD, zeros for positions": (PTYRAD, many_zeros("model_attributes/crop_pos", "i8", 2)),
    "PtyRAD, zeros for losses": (PTYRAD, many_zeros("loss_iters", "f8", 2)),
    "PtyRAD, zeros for tilts": (PTYRAD, many_zeros("optimizable_tensors/obj_tilts", "f8", 2)),
    "PtyRAD, chunks that are not there": (PTYRAD, chunks_that_are_not_there("model_attributes/crop_pos", "i8", 2)),
    "PtyRAD, many records": (PTYRAD, many_links("convergence_iters", "loss_iters")),
    "PtyRAD, a long version": (PTYRAD, long_text("ptyrad_version", 1_500_000)),
    "PtyRAD, a long way": (PTYRAD, long_way),
    "PtyRAD, a long name": (PTYRAD, long_name),
    "ptychodus, zeros for distances": (PTYCHODUS, many_zeros("object_layer_spacing_m", "f8")),
    "ptychodus, a large chunk of losses": (PTYCHODUS, one_large_chunk("loss_values", "f8")),
    "ptychodus, chunks that are not there": (PTYCHODUS, chunks_that_are_not_there("probe_position_x_m", "f8")),
    "PtyLab, a large chunk of errors": (PTYLAB, one_large_chunk("error", "f4")),
    "PtyLab, zeros for positions": (PTYLAB, many_zeros("encoder_corrected", "f8", 2)),
    "ptypy, many iterations": (
        PTYPY,
        many_links("content/runtime/iter_info", "content/runtime/iter_info/00000", "9{:06d}"),
    ),
    "ptypy, many objects": (PTYPY, many_links("content/obj", "content/obj/Sscan00G00")),
    "py4DSTEM, many groups": (PY4DSTEM, many_links("/", "ptychographic_reconstruction_root", "{:06d}_root")),
    "py4DSTEM, one text in a list": (PY4DSTEM, one_text_in_a_list),
    "quantem, a long description": (QUANTEM, in_zip(long_description)),
    "quantem, a description of empty lists": (QUANTEM, in_zip(empty_lists, zipfile.ZIP_DEFLATED)),
    "quantem, a module of zeros": (QUANTEM, in_zip(module_of_zeros)),
    "quantem, a large chunk by blosc": (QUANTEM, in_zip(one_large_chunk_in_zip("blosc"))),
    "quantem, a large chunk by gzip": (QUANTEM, in_zip(one_large_chunk_in_zip("gzip"))),
    "quantem, a large chunk by zstd": (QUANTEM, in_zip(one_large_chunk_in_zip("zstd"))),
    "quantem, a large shape of chunks": (QUANTEM, in_zip(large_chunk_shape)),
    "quantem, chunks that are not there": (QUANTEM, in_zip(no_chunks)),
    "quantem, many snapshots": (QUANTEM, in_zip(many_snapshots)),
    "PtyRAD, one curve many times": (PTYRAD, one_curve_many_times),
    "PtyRAD, links in a row": (PTYRAD, links_in_a_row),
    "ptychodus, many probes": (PTYCHODUS, many_probes),
    "ptychodus, complex distances": (PTYCHODUS, complex_distances),
    "py4DSTEM, labels in one chunk": (PY4DSTEM, labels_in_one_chunk),
    "quantem, an entry that lies": (QUANTEM, entry_that_lies),
    "quantem, more behind by gzip": (QUANTEM, in_zip(more_behind("gzip"))),
    "quantem, more behind by zstd": (QUANTEM, in_zip(more_behind("zstd"))),
    "quantem, a module with many names": (QUANTEM, in_zip(module_with_many_names)),
    "quantem, no codecs": (QUANTEM, in_zip(no_codecs)),
    "quantem, other codecs": (QUANTEM, in_zip(other_codecs)),
    ".pt, in other letters": (PT, in_pt(nested_key(), "data.PKL")),
    ".pt, two tables": (PT, two_tables),
    ".pt, a set": (PT, in_pt(calls(b"builtins\nset", b"]" + NEST + b"a"))),
    ".pt, a counter": (PT, in_pt(calls(b"collections\nCounter", b"]" + NEST + b"a"))),
    ".pt, a dict": (PT, in_pt(calls(b"collections\nOrderedDict", b"]" + NEST + b"K\x01\x86a"))),
    ".pt, bytes": (PT, in_pt(calls(b"builtins\nbytearray", b"J" + struct.pack("<i", 2 * 10**9)))),
    ".pt, a nested name": (PT, in_pt(nested_name())),
    ".pt, one list many times": (PT, in_pt(one_list_many_times())),
    ".pt, many names": (PT, in_pt(many_names(90_000))),
    ".pt, a nested key": (PT, in_pt(nested_key())),
    ".pt, an array of any size": (PT, in_pt(array_of_any_size())),
    ".pt, one row many times": (PT, in_pt(one_row_many_times())),
}
"""By name, the real file, and what is done to a copy of it."""


def make(name: str, folder: Path) -> Path:
    """Make a file that claims too much."""
    real, spoil = CLAIMS[name]
    path = folder / real.name
    shutil.copy(real, path)
    spoil(path)
    assert path.stat().st_size <= 2_100_000, f"{name}: {path.stat().st_size} bytes"
    return path
