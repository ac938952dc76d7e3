"""Which provider runs, and what is said where none can."""

import pytest
import torch

from snnexp.kernels import backend
from snnexp.kernels.backend import BackendError, resolve

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _no_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def on(monkeypatch, installed=True, rocm=False):
    monkeypatch.setattr(backend, "TRITON_INSTALLED", installed)
    monkeypatch.setattr(backend, "IS_ROCM", rocm)


@pytest.mark.parametrize(
    ("device", "installed", "rocm", "provider"),
    [
        (CPU, True, False, "cpu"),
        (CUDA, True, False, "triton"),
        (CUDA, False, False, "reference"),
        (CUDA, True, True, "reference"),
        (torch.device("mps"), True, False, "reference"),
    ],
)
def test_auto_picks_by_device(device, installed, rocm, provider, monkeypatch):
    on(monkeypatch, installed, rocm)
    assert resolve("auto", device) == provider


def test_triton_by_name_runs_on_cuda_and_rocm(monkeypatch):
    on(monkeypatch)
    assert resolve("triton", CUDA) == "triton"
    on(monkeypatch, rocm=True)
    assert resolve("triton", CUDA) == "triton"


def test_triton_on_the_cpu_needs_the_interpreter(monkeypatch):
    on(monkeypatch)
    with pytest.raises(BackendError, match=r"tensors are on cpu.*TRITON_INTERPRET=1"):
        resolve("triton", CPU)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert resolve("triton", CPU) == "triton"


def test_triton_that_is_not_installed_is_named(monkeypatch):
    on(monkeypatch, installed=False)
    with pytest.raises(BackendError, match="the package triton is not installed"):
        resolve("triton", CUDA)


def test_other_wishes_are_refused():
    with pytest.raises(BackendError, match="expected one of auto, reference, cpu, triton"):
        resolve("cuda", CPU)
    with pytest.raises(BackendError, match="the tensors are on cuda:0"):
        resolve("cpu", CUDA)
