"""Files are written whole, or not at all."""

import random
import sys
import time

import pytest
from processes import started

WRITE = """
import sys
from pathlib import Path
from ptyconv_cli.results.files import write_whole
folder = Path(sys.argv[1])
for generation in range(10**9):
    write_whole({folder / name: (f"{generation} " * 20_000).encode() for name in ("a.json", "b.json", "c.png")})
    if not generation:
        print("ready", flush=True)
"""


@pytest.mark.parametrize("times", [5, pytest.param(50, marks=pytest.mark.long)])
def test_killed_while_writing(tmp_path, times):
    """Whenever the process is killed, each file is the old or the new one, whole."""
    random.seed(4)
    for _ in range(times):
        with started([sys.executable, "-c", WRITE, tmp_path]) as writer:
            writer.stdout.readline()
            time.sleep(0.05 * random.random())
        for path in tmp_path.glob("*.*"):
            if not path.name.startswith("."):
                words = path.read_text().split()
                assert len(words) == 20_000
                assert len(set(words)) == 1
    assert {path.name for path in tmp_path.glob("[abc].*")} == {"a.json", "b.json", "c.png"}
