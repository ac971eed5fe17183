"""The command line: commands, options, what is printed, exit codes. Only here is click used. See docs/commands.md."""
