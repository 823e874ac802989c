"""The entry point of the `darkroom` command under its installed name; the command is in `commands/main.py`."""

from pipeline_assets.commands.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
