"""Fixtures that several test files use."""

import pytest
from click.testing import CliRunner, Result

from ptyconv_cli.checkpoints import headers
from ptyconv_cli.cli.main import main


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Don't wait for the newest checkpoint to become whole: in the tests nobody is writing it."""
    monkeypatch.setattr(headers, "PATIENCE", (0.0,))


@pytest.fixture
def ptyconv():
    """The command line, in this process; an exception other than an orderly exit fails the test."""

    def run(*arguments) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)

    return run
