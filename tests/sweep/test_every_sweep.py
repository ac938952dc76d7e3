"""Every configs/sweep/*.yaml: its keys exist and each of its jobs is valid."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from snnexp.config.compose import CONFIG_DIR, compose_config, options
from snnexp.config.validate import validate
from snnexp.sweep.jobs import given, multiply


@pytest.mark.parametrize("name", options("sweep"))
def test_its_jobs_are_valid(name):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("config", [f"sweep={name}"], return_hydra_config=True)
    assert str(cfg.hydra.mode).endswith("MULTIRUN"), "without it the file needs -m and says nothing"
    kind = "Search" if name.startswith("optuna") else "Grid"
    assert cfg.hydra.sweeper._target_ == f"hydra_plugins.snnexp_sweep.{kind}"
    params = OmegaConf.to_container(cfg.hydra.sweeper.params)
    overrides = given(params, [])
    if name.startswith("optuna"):
        pytest.importorskip("optuna")
        from snnexp.sweep.search import as_overrides, distribution, some_value

        overrides = as_overrides(
            {o.get_key_element(): some_value(distribution(o)) for o in overrides}
        )
    jobs = multiply(overrides, lambda lines: validate(compose_config(lines)))
    assert jobs
    assert [job.problem for job in jobs if job.problem] == []
    assert len({job.key for job in jobs}) == len(jobs)
