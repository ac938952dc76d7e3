"""Every yaml composes and is valid; the list is read from the folders."""

import pytest

from scripts.check_configs import overrides_of_every_yaml
from snnexp.config.compose import CONFIG_DIR, compose_config
from snnexp.config.validate import validate

ALL = list(overrides_of_every_yaml())


def test_every_folder_is_covered():
    covered = {o.split("=")[0].split("@")[0] for overrides in ALL for o in overrides}
    folders = {p.name for p in CONFIG_DIR.iterdir() if p.is_dir() and any(p.glob("*.yaml"))}
    assert folders - covered <= {"recipe", "hydra"}


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
