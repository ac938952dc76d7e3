"""`python -m scripts.check_configs [--run] [--only TEXT]`: compose and validate every yaml.

With --run each experiment trains two small batches of an epoch on its sample data and is tested on
two. With --only the overrides that contain the text are checked, `--only experiment=fang2021_sew`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator

from rich.console import Console

from snnexp.config.compose import CONFIG_DIR, compose_config, options
from snnexp.config.validate import validate

#: groups whose yamls stand below another node: the override that puts them there
PLACES = {
    "neuron": "neuron@model.neuron={name}",
    "surrogate": "surrogate@model.neuron.surrogate={name}",
}
#: yamls that only make sense together with another choice
TOGETHER = {"rule=s4nn": ("model=s4nn",)}
#: a rehearsal: two batches a split, one epoch; at a paper's size a batch of 2 fits a small machine
SHORT = (
    "task.batch_size=2",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=2",
    "trainer.limit_test_batches=2",
    "callbacks.progress.style=none",
)


def overrides_of_every_yaml() -> Iterator[tuple[str, ...]]:
    """Yield the override that selects each yaml below configs/."""
    for folder in sorted(p for p in CONFIG_DIR.iterdir() if p.is_dir()):
        group = folder.name
        if group in ("recipe", "hydra", "corrupt"):
            continue
        for name in options(group):
            chosen = PLACES.get(group, f"{group}={{name}}").format(name=name)
            yield (chosen, *TOGETHER.get(chosen, ()))
    for recipe in options("recipe"):
        task, _, model = recipe.partition("-")
        yield (f"task={task}", f"model={model}")


def main() -> int:
    """Check all; return 1 if anything failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--run", action="store_true", help="also run each experiment briefly")
    parser.add_argument("--only", default="", help="check the overrides that contain this text")
    arguments = parser.parse_args()
    console, failed = Console(), 0
    for overrides in overrides_of_every_yaml():
        if arguments.only not in " ".join(overrides):
            continue
        try:
            cfg = validate(compose_config(overrides))
            if arguments.run and overrides[0].startswith("experiment="):
                _rehearse(overrides)
        except Exception as error:  # whatever stops a run is a finding, and the others go on
            failed += 1
            console.print(f"[red]failed[/] {' '.join(overrides)}\n{type(error).__name__}: {error}")
            continue
        console.print(f"[green]ok[/]     {' '.join(overrides)}  ({cfg.name})")
    return int(failed > 0)


def _rehearse(overrides: tuple[str, ...]) -> None:
    from snnexp.run import run

    with tempfile.TemporaryDirectory() as folder:
        run(validate(compose_config((*overrides, *SHORT, "data=sample", f"output_dir={folder}"))))


if __name__ == "__main__":
    sys.exit(main())
