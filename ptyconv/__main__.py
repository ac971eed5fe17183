"""What `python -m ptyconv` runs: the command `ptyconv`."""

from ptyconv_cli.cli.main import main

main(prog_name="ptyconv")
