"""The command line: the commands and their options, what is printed, exit codes. The only place that uses click."""
