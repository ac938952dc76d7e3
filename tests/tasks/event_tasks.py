"""Builds the event tasks of configs/task as a run does, with other keys where a test needs them."""

import hashlib
import shutil
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import OmegaConf

from snnexp.data.download import Remote

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


def zipped(folder: Path, archive: Path, name: str) -> Remote:
    """Pack a folder as an archive that holds `name`/..., and give it a file address."""
    shutil.make_archive(str(archive.with_suffix("")), "zip", folder.parent, folder.name)
    assert folder.name == name
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    url = archive.resolve().as_uri()
    return Remote(name=archive.name, urls=(url,), checksum=f"md5:{md5}", title=name)
