"""Override mistakes are explained with near misses, whichever way they are made."""

import pytest

from snnexp.config.compose import compose_config, preflight
from snnexp.config.validate import ConfigError, validate


def message(*overrides):
    try:
        preflight(overrides)
        validate(compose_config(overrides))
    except ConfigError as error:
        return str(error)
    return "no mistake found"


def test_the_default_configuration_is_sound():
    cfg = validate(compose_config())
    assert cfg.name == "speech-conv_snn"
    assert cfg.task.data == cfg.data == "sample"
    assert cfg.model.neuron.backend == cfg.backend == "auto"


def test_every_part_can_be_swapped():
    cfg = validate(
        compose_config(
            [
                "neuron@model.neuron=lif",
                "surrogate@model.neuron.surrogate=triangle",
                "model.neuron.tau=5",
                "optimizer=adam",
                "scheduler=cosine",
                "loss=cross_entropy",
                "trainer.max_epochs=3",
                "trainer.precision=bf16-mixed",
                "backend=reference",
                "seed=7",
                "logger=tensorboard",
                "resume=auto",
            ]
        )
    )
    assert cfg.model.neuron._target_.endswith("LIF")
    assert cfg.model.neuron.tau == 5
    assert cfg.model.neuron.backend == "reference"
    assert cfg.optimizer._target_ == "torch.optim.Adam"
    assert cfg.loss.activity is None


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("task=spech", "task=spech: there is no configs/task/spech.yaml. Did you mean 'speech'?"),
        ("modell=conv_snn", "Did you mean 'model'"),
        ("sed=3", "Did you mean 'seed'"),
        ("+sed=3", "sed: no such key. Did you mean 'seed'?"),
        ("++sed=3", "sed: no such key. Did you mean 'seed'?"),
        ("model.neuron.v_thh=3", "Did you mean 'model.neuron.v_th"),
        ("+model.neuron.tauu=3", "model.neuron.tauu: no such key"),
        ("++model.chanels=[3]", "model.chanels: no such key. Did you mean 'channels'?"),
        ("trainer.max_epoch=3", "Did you mean 'trainer.max_epochs'"),
        ("+trainer.max_epoch=3", "Did you mean 'max_epochs'"),
        ("optimizer.lr=fast", "optimizer.lr"),
        ("trainer.max_epochs=three", "trainer.max_epochs"),
        ("backend=cuda", "backend"),
        ("data=reel", "data: Input should be 'sample' or 'real' (given: 'reel')"),
        ("neuron@model.neuron=liff", "Did you mean 'lif'"),
        ("surrogate@model.neuron.surrogate=atn", "Did you mean 'atan'"),
        ("experiment=pellegrini", "there is no configs/experiment/pellegrini.yaml"),
        ("seed=", "seed"),
        ("model.channels=[64", "override not understood"),
    ],
)
def test_a_mistake_is_explained(override, expected):
    assert expected in message(override)


def test_a_sweep_passes_the_preflight():
    preflight(["seed=0,1,2", "model.readout=mean,max", "hydra.sweep.dir=x"])


def test_a_mistake_beside_a_sweep_is_found():
    assert "Did you mean 'seed'" in message("sed=3", "model.readout=mean,max")
