"""The command `ptyconv report`: what it says of where it cannot write."""

import runs
from click.testing import CliRunner

from ptyconv_cli.cli.main import main


def test_results_that_cannot_be_written_name_their_own_option(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    page = tmp_path / "page.html"
    result = CliRunner().invoke(main, ["report", str(runs.SAMPLE), "--results", str(file), "-o", str(page)])
    assert result.exit_code == 1
    assert result.stderr == f"Error: {file}: cannot write there; choose another folder with --results\n"
    assert not page.exists()
