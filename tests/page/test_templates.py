"""Text becomes text, whatever is in it, and the package brings its templates along."""

import json
import re
import subprocess
import sys
import zipfile
from base64 import b64encode
from hashlib import sha256
from html import unescape

import pytest
import runs
from jinja2 import UndefinedError

from ptyconv_cli.page.run_page import FOLDER, RowOnPage, RunOnPage, Table, as_data, page, part, run_page, study_page
from ptyconv_cli.results.run_analysis import RunVerdict
from ptyconv_cli.verdict.table import Row

BAD = "<b>\"x\" & 'y'</b></script><!--\x1b\udc80\n\u2028"
SHOWN = BAD.replace("\x1b", "?").replace("\udc80", "?").replace("\u2028", "?")


def failed(**given):
    return RunOnPage.failed(1, BAD, BAD)


def test_text_is_escaped_everywhere():
    row = RowOnPage(BAD, 1, [], "", BAD)
    good = RowOnPage(BAD, 2, [BAD], BAD, "")
    written = study_page(BAD, [BAD, BAD, BAD], [row, good], BAD, BAD, [failed()], [BAD]).decode()
    assert "<b>" not in written
    assert "\x1b" not in written
    assert written.count("</script>") == 1
    assert unescape(written).count(SHOWN) >= 12
    verdict = RunVerdict(BAD, "objp", BAD, BAD, None, {}, BAD)
    table = Table(BAD, [BAD], BAD, BAD, [Row(BAD, BAD, BAD, [BAD], BAD, BAD, "")], BAD)
    written = run_page(
        RunOnPage(1, BAD, BAD, verdict, BAD, BAD, BAD, table, [BAD], [], [(BAD, BAD)], no_viewer=BAD)
    ).decode()
    assert "<b>" not in written
    assert unescape(written).count(SHOWN) >= 20


def test_data_cannot_end_its_element():
    found = str(as_data({"a": BAD, "b": [None, 1.5]}))
    assert not set("<>&") & set(found)
    assert json.loads(found) == {"a": BAD, "b": [None, 1.5]}
    with pytest.raises(ValueError, match="Out of range"):
        as_data([float("nan")])


def test_the_policy_allows_this_style_and_script_alone():
    written = study_page("a", ["run", "verdict"], [], "", "", [], []).decode()
    policy = unescape(re.search(r'Policy" content="([^"]*)"', written)[1])
    for what, element in (("style", "style"), ("script", "script")):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", written, re.DOTALL)
        assert f"{what}-src 'sha256-{b64encode(sha256(content.encode()).digest()).decode()}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert not re.search(r' (style|on\w+)="', written)


def test_what_a_template_lacks_is_an_error():
    with pytest.raises(UndefinedError):
        page("run.html", title="a")
    with pytest.raises(UndefinedError):
        part("notebook.html")


def test_a_wheel_holds_them(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "ptyconv", "ptyconv_cli"):
        (copy / name).symlink_to(runs.ROOT / name)
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=copy, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = set(wheel.namelist())
    assert {f"ptyconv_cli/page/templates/{path.name}" for path in FOLDER.iterdir()} <= held
    assert {"ptyconv/__init__.py", "ptyconv/__main__.py", "ptyconv/py.typed"} <= held
    assert {path.suffix for path in FOLDER.iterdir()} == {".html", ".css", ".js"}
