"""Every yaml composes and is valid; the list is read from the folders."""

import pytest
from hydra.utils import instantiate

from scripts.check_configs import overrides_of_every_yaml
from snnexp.config.compose import CONFIG_DIR, compose_config, options
from snnexp.config.schema import EvaluateRoot
from snnexp.config.validate import validate
from snnexp.corruptions import Corruption

ALL = list(overrides_of_every_yaml())


def test_every_folder_is_covered():
    covered = {o.split("=")[0].split("@")[0] for overrides in ALL for o in overrides}
    folders = {p.name for p in CONFIG_DIR.iterdir() if p.is_dir() and any(p.glob("*.yaml"))}
    assert folders - covered <= {"recipe", "hydra", "corrupt"}


@pytest.mark.parametrize("name", options("corrupt"))
def test_every_corruption_composes_and_is_valid(name):
    cfg = compose_config([f"corrupt={name}", "run=somewhere", "seed=3"], "evaluate")
    corruption = instantiate(validate(cfg, EvaluateRoot, ()).corrupt)
    assert isinstance(corruption, Corruption)
    assert corruption.seed == 3


@pytest.mark.parametrize("overrides", ALL, ids=" ".join)
def test_it_composes_and_is_valid(overrides):
    cfg = validate(compose_config(overrides))
    assert cfg.name


EXPERIMENTS = [o for o in ALL if o[0].startswith("experiment=")]


@pytest.mark.parametrize("overrides", EXPERIMENTS, ids=" ".join)
def test_experiments_that_claim_name_their_protocol(overrides):
    cfg = compose_config(overrides)
    if overrides[0].endswith("_strict"):
        assert cfg.select_on == "val", "a strict protocol never selects on the test set"
        assert cfg.paper.protocol == "strict"
