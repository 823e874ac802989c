"""The `darkroom` command, one file per command: parse, call, print."""
