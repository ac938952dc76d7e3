"""`python -m scripts.prepare_data task=<task> data=real [data_dir=...]`: fetch or check data.

    python -m scripts.prepare_data task=nmnist data=real data_dir=/data    fetch or find, and split
    python -m scripts.prepare_data experiment=<name> data=real             as that experiment will
    python -m scripts.prepare_data task=depth                              make the sample

Takes the words of `python -m snnexp`, prints how many items each split has and what was left out.
What cannot be downloaded is named with where to get it and where to put it. `make data-<task>`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hydra.utils import instantiate
from rich.console import Console

from snnexp.config.compose import compose_config, quoted
from snnexp.config.validate import ConfigError, validate
from snnexp.data.base import DataError

PATHS = ("data_dir", "cache_dir")


def main(words: Sequence[str]) -> int:
    """Prepare the data and say what is there."""
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    console = Console()
    try:
        cfg = validate(compose_config([quoted(word, PATHS) for word in words]))
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
    sys.exit(main(sys.argv[1:]))
