"""Run `python -m snnexp`."""

from snnexp.cli import main

if __name__ == "__main__":
    main()
