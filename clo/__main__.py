"""``python -m clo <command>``."""

from clo.commands.cli import main

if __name__ == "__main__":
    main()
