"""A run's config.yaml may be a stranger's: what it may name, and that nothing else is touched."""

import sys

import pytest
import yaml

from snnexp.config.compose import compose_config
from snnexp.config.trust import BUILT, read_config
from snnexp.config.validate import ConfigError, validate


def written(folder, change=None, overrides=()):
    from omegaconf import OmegaConf

    config = OmegaConf.to_container(validate(compose_config(list(overrides))))
    if change is not None:
        change(config)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


MODELS = ("conv_snn", "fc_snn", "plif_net", "s4nn", "sew_resnet18", "seven_b_net")
TASKS = ("speech", "traffic", "mnist", "mnist", "cifar10", "gesture")


@pytest.mark.parametrize(("task", "model"), [*zip(TASKS, MODELS, strict=True)])
def test_what_the_framework_writes_is_trusted(tmp_path, task, model):
    config = read_config(written(tmp_path, None, [f"task={task}", f"model={model}"]), trust=False)
    assert set(BUILT) <= config.keys()


@pytest.mark.parametrize(
    "model", ["stereospike_ann_leaky_relu", "stereospike_ann_tanh", "stereospike"]
)
def test_layers_of_torch_are_trusted_inside(tmp_path, model):
    read_config(written(tmp_path, None, ["task=depth", f"model={model}"]), trust=False)


def model_is(target, **keys):
    return lambda config: config.update(model={"_target_": target, **keys})


def inside(target, **keys):
    return lambda config: config["model"].update(neuron={"_target_": target, **keys})


@pytest.mark.parametrize(
    "change",
    [
        model_is("os.system", command="touch ran"),
        model_is("subprocess.run", args=["touch", "ran"]),
        model_is("builtins.exec"),
        # begins well, and leads out
        model_is("snnexp.models.s4nn.torch.hub.load"),
        model_is("snnexp.report.environment.subprocess.run", args=["touch", "ran"]),
        model_is("snnexp.report.environment._git"),
        # ours, but no model
        model_is("snnexp.data.download.download"),
        inside("torch.load", f="evil.pt"),
        inside("torch.nn.functional.F"),
        inside("os.system"),
        inside("snnexp.run.run"),
        inside("snnexp.neurons.lif.LIF", _args_=[1, 2]),
        lambda config: config.update(task={"_target_": "snnexp.models.conv_snn.ConvSNN"}),
        lambda config: config["task"].update(data_dir="${oc.env:HOME}"),
        lambda config: config["loss"].update(activity=[{"_target_": "os.system"}]),
    ],
)
def test_what_leads_elsewhere_is_refused(tmp_path, change):
    with pytest.raises(ConfigError, match="nothing was built") as error:
        read_config(written(tmp_path, change), trust=False)
    assert "trust=true" in str(error.value)


def test_a_module_outside_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, model_is("evil.Model"))
    with pytest.raises(ConfigError, match=r"evil\.Model"):
        read_config(path, trust=False)
    assert "evil" not in sys.modules
    assert not (tmp_path / "ran").exists()


def test_trust_lets_other_packages_in_and_still_validates(tmp_path):
    path = written(tmp_path, model_is("torch.nn.Linear", in_features=2, out_features=3))
    assert read_config(path, trust=True)["model"]["in_features"] == 2
    path = written(tmp_path, lambda config: config["model"].update(chanels=[1]))
    with pytest.raises(ConfigError, match="channels"):
        read_config(path, trust=False)


@pytest.mark.parametrize(
    "text", ["", "[1, 2", "a: 1", "!!python/object/apply:os.system ['touch ran']"]
)
def test_what_is_no_configuration_is_named(tmp_path, text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        read_config(tmp_path / "config.yaml", trust=True)
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="folder of a run"):
        read_config(tmp_path / "config.yaml", trust=False)
