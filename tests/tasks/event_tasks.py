"""Builds the event tasks of configs/task as a run does, with other keys where a test needs them."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import OmegaConf

CONFIGS = Path(__file__).parents[2] / "configs" / "task"


def build(name: str, cache: Path, *overrides: str, data: str = "sample", data_dir: str = "data"):
    root = OmegaConf.create({"data": data, "data_dir": data_dir, "cache_dir": str(cache)})
    root.task = OmegaConf.load(CONFIGS / f"{name}.yaml")
    root.merge_with_dotlist([f"task.{o}" for o in overrides])
    return instantiate(root.task)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the cache's own manifest, which has a date."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"]
    assert files
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}
