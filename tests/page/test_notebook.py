"""What a notebook shows of an analysis by itself."""

import re
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace

import pytest
import runs

from ptyconv_cli import analyze_run


def test_the_sentence_the_table_and_the_dashboard(analysis):
    html = analysis._repr_html_()
    assert (
        "From iteration 60 to 120 the object phase changed by 6\N{NO-BREAK SPACE}% of the object&#39;s contrast" in html
    )
    text = html.replace("\N{NO-BREAK SPACE}", " ")
    for number in ("0.66", "0.92", "2 to 18", "0.1"):
        assert f">{number}</td>" in text
    assert '<p class="advice">Keep iteration 120: it is the last, and the object changes less than before.</p>' in text
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    content = b64decode(picture)
    assert content.startswith(b"\x89PNG")
    assert "<script" not in html
    assert "sample" in html


def test_from_where_iterations_count_is_said_below_the_table(analysis):
    said = '<p class="remark">Iterations count from 4 on: there is nothing to compare with before.</p>'
    assert said in runs.analysis_of(runs.DATA / "phaser" / "epie_resize")._repr_html_()
    assert "Iterations count from" not in analysis._repr_html_()


def test_it_styles_nothing_but_itself(analysis):
    (style,) = re.findall(r"<style>(.*?)</style>", analysis._repr_html_(), re.DOTALL)
    for rule in re.findall(r"([^{}]+)\{", style):
        assert all(selector.strip().startswith(".ptyconv") for selector in rule.split(",")), rule


def test_names_are_text(analysis):
    html = replace(analysis, run_dir="/a/<script>alert(1)<")._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;" in html


def test_without_a_verdict():
    html = analyze_run(runs.SAMPLE, tensors=["probe"], aligned=False, device="cpu")._repr_html_()
    assert "There is no verdict" in html
    assert "<img" in html


@pytest.mark.parametrize("home", ["ptyconv_cli", "ptyconv_cli.analysis.run"])
def test_wherever_it_was_got_from(home):
    code = f"""
from {home} import analyze_run
print(analyze_run({str(runs.SAMPLE)!r}, tensors=["probe"], aligned=False, device="cpu")._repr_html_())
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "<img" in shown


def test_the_package_is_imported_as_fast_as_before():
    code = "import sys, ptyconv_cli, ptyconv_cli.results.run_analysis; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {
        name for name in loaded if name.startswith(("ptyconv_cli.page", "jinja2", "PIL", "matplotlib", "numpy.f"))
    }
