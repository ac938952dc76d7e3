"""Thin command-line scripts: `python -m scripts.<name>`."""
