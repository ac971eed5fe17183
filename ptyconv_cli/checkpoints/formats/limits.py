"""How much a file may claim to hold: memory and time are bounded by what it does hold. See docs/files.md."""

from collections.abc import Iterable

from ptyconv_cli.errors import CheckpointError

MIB = 1 << 20

MOST_TEXT = 4096
"""Characters of a text that are read: of a version, a name, a path."""

LONGEST_NAME = 255
"""Characters of the longest name of a dataset, as of a file."""


def most_bytes(file_size: int) -> int:
    """Return how many bytes a dataset may have that is read as a whole: positions, a loss.

    Such are hardly compressible, and beside them there is a much larger object.
    """
    return 4 * MIB + 4 * file_size


def most_bytes_in_parts(file_size: int) -> int:
    """Return how many bytes a dataset may have that is read in parts, as the object, which may be uniform at first."""
    return 128 * MIB + 50 * file_size


def most_bytes_of_chunk(bytes_of_array: int) -> int:
    """Return how many bytes a chunk may have, which is unpacked as a whole: it may be larger than a small array."""
    return max(4 * MIB, 2 * bytes_of_array)


def most_chunks(bytes_of_array: int, file_size: int) -> int:
    """Return how many chunks an array may have: each takes some time to be found, and some room in an index.

    A history to which h5py appended one number after the other may have a chunk for each.
    """
    return 1000 + max(bytes_of_array // 256, file_size // 32)


def most_names(file_size: int) -> int:
    """Return how many names there may be in a group, each of something that takes room."""
    return 1000 + file_size // 400


def most_steps(file_size: int) -> int:
    """Return how many steps the pickle in a file may have, of which each number of a history takes some four."""
    return 100_000 + file_size // 4


def check_names(names: Iterable[str], file_size: int, what: str) -> None:
    """Raise CheckpointError, which begins with `what`, where a group has too many names, or such as nobody gives."""
    names = list(names)
    if len(names) > most_names(file_size):
        raise CheckpointError(f"{what} has more names in it than there is room for; it may be damaged")
    if any(len(name) > LONGEST_NAME for name in names):
        raise CheckpointError(f"{what} has a name of more than {LONGEST_NAME} characters in it; it may be damaged")
