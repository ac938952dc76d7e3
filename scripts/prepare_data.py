"""`python -m scripts.prepare_data task=<task> data=real [data_dir=...]`: fetch or check data."""

from __future__ import annotations

import sys

from hydra.utils import instantiate
from rich.console import Console

from snnexp.config.compose import compose_config
from snnexp.config.validate import ConfigError, validate
from snnexp.data.base import DataError


def main() -> int:
    """Prepare the data and say what is there."""
    console = Console()
    try:
        cfg = validate(compose_config(sys.argv[1:]))
        task = instantiate(cfg.task, _convert_="all")
        task.prepare_data()
        task.setup("fit")
    except (ConfigError, DataError) as error:
        console.print(f"[bold red]error:[/] {error}", highlight=False, soft_wrap=True)
        return 2
    report = task.report()
    console.print(f"{cfg.task['_target_']}: {report.source}")
    for split, size in report.sizes.items():
        console.print(f"  {split:8s}{size:8d}")
    for note, value in report.notes.items():
        console.print(f"  {note}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
