"""`python -m ptyconv_cli` is `ptyconv`."""

from ptyconv_cli.cli.main import main

main()
