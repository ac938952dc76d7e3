"""Runs on two processes (gloo, on the CPU): the same batches, weights and figures as on one."""

import os
import socket
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.utils.data import RandomSampler, SequentialSampler

import snnexp
from snnexp.assembly import make_trainer
from snnexp.config.validate import ConfigError
from snnexp.data.base import DataError, SharedBatches
from snnexp.data.splits import BalancedSampler
from snnexp.report.record import read_result
from snnexp.run import run
from snnexp.training.crew import (
    Crew,
    LostPeerError,
    PeerError,
    check_batch_norm,
    naming_losses,
)
from tests.test_run import config, folders
from tests.training.toy import toy_task

#: 48, 20 and 23 items: a short last batch of training, and of the test one with a single item
BATCH = 11

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:lightning", "ignore:.*deterministic.*:UserWarning"
)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def two(call, timeout=300):
    """Run a call of this module in two processes, as torchrun starts them; return their output."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    shared |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", f"from tests.test_devices import *; {call}"],
            env={**os.environ, **shared, "LOCAL_RANK": str(rank), "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = [p.communicate(timeout=timeout)[0] for p in processes]
    return [p.returncode for p in processes], said


def on_two(folder, strategy, *overrides):
    """A run of the toy task over two processes."""
    more = [f"trainer={strategy}", "trainer.devices=2", "trainer.max_epochs=2", *overrides]
    return run(config(Path(folder), *more, task={"batch_size": BATCH}))


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_learn_and_measure_what_one_does(tmp_path, strategy):
    alone = run(config(tmp_path / "one", "trainer.max_epochs=2", task={"batch_size": BATCH}))
    codes, said = two(f"print(on_two({str(tmp_path / 'two')!r}, {strategy!r}))")
    assert codes == [0, 0], said
    assert [float(text.splitlines()[-1]) for text in said] == [alone, alone]
    (one,), (both,) = folders(tmp_path / "one"), folders(tmp_path / "two")
    a, b = (torch.load(f / "checkpoints/last.ckpt", weights_only=True) for f in (one, both))
    assert a["state_dict"].keys() == b["state_dict"].keys()
    for key, weight in a["state_dict"].items():
        torch.testing.assert_close(b["state_dict"][key], weight, rtol=2e-4, atol=2e-6)
    assert a["global_step"] == b["global_step"] == 10
    torch.testing.assert_close(
        b["optimizer_states"][0]["state"], a["optimizer_states"][0]["state"], rtol=2e-3, atol=2e-6
    )
    first, second = read_result(one), read_result(both)
    # counts of spikes and items are integers: sums over processes are exact
    assert second.firing == first.firing
    assert second.confusion == first.confusion
    assert second.operations == first.operations
    assert second.metrics.selected["test/acc"] == first.metrics.selected["test/acc"]
    assert second.environment.world_size == 2
    assert second.environment.global_batch == first.environment.global_batch == BATCH
    assert second.firing.samples == 23
    rows = [pd.read_csv(f / "metrics.csv").drop(columns="seconds") for f in (one, both)]
    pd.testing.assert_frame_equal(rows[1][rows[0].columns], rows[0], rtol=1e-4)
    for key in ("train/acc", "train/rate", "val/acc", "val/rate"):
        assert list(rows[0][key]) == list(rows[1][key]), key
    assert {p.name for p in both.iterdir()} == {p.name for p in one.iterdir()}
    x = toy_task().datasets["test"][0]["input"][None]
    probabilities = [snnexp.load(f, trust=True).predict(x)[0].probabilities for f in (one, both)]
    assert probabilities[1] == pytest.approx(probabilities[0], rel=1e-3)
    assert "test/acc" not in said[1], "only the first process prints the summary"


#: a limit that every step exceeds
CLIPPED = ("trainer.gradient_clip_val=0.05", "trainer.gradient_clip_algorithm=norm")


def divided_runs(folder, whole):
    """Two epochs, and a third one from a checkpoint of one process."""
    on_two(f"{folder}/divided", "fsdp", *CLIPPED)
    on_two(f"{folder}/from_whole", "fsdp", *CLIPPED, "trainer.max_epochs=3", f"resume={whole}")


def test_a_divided_run_clips_as_one_process_and_either_goes_on_from_the_other(tmp_path):
    def last(name):
        return folders(tmp_path / name)[0] / "checkpoints/last.ckpt"

    def alone(name, *more):
        run(config(tmp_path / name, *CLIPPED, *more, task={"batch_size": BATCH}))
        return last(name)

    def weights(name):
        return torch.load(last(name), weights_only=True)["state_dict"]

    whole = alone("whole", "trainer.max_epochs=2")
    codes, said = two(f"divided_runs({str(tmp_path)!r}, {str(whole)!r})")
    assert codes == [0, 0], said
    alone("from_divided", f"resume={last('divided')}")
    alone("uncut")
    expected = weights("uncut")
    for name in ("from_divided", "from_whole"):
        for key, weight in weights(name).items():
            torch.testing.assert_close(weight, expected[key], rtol=2e-4, atol=2e-6)
    alone("free", "trainer.gradient_clip_val=1000")
    key = "model.convs.0.weight"
    assert not torch.allclose(weights("free")[key], expected[key]), "nothing was clipped"


def order_of(sampler, epoch):
    torch.manual_seed(epoch)
    if hasattr(sampler, "set_epoch"):
        sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", ["in order", "shuffled", "balanced"])
@pytest.mark.parametrize("size", [48, 50, 41])
def test_shares_of_all_processes_are_the_batches_of_one(world, kind, size):
    targets = torch.arange(size) % 5 % 3
    make = {
        "in order": lambda: SequentialSampler(targets),
        "shuffled": lambda: RandomSampler(targets),
        "balanced": lambda: BalancedSampler(targets, 3),
    }[kind]
    for epoch in (0, 1):
        whole = order_of(make(), epoch)
        shares = []
        for rank in range(world):
            batches = SharedBatches(make(), 8, False, rank, world)
            torch.manual_seed(epoch)
            if kind == "balanced":
                batches.sampler.set_epoch(epoch)
            shares.append(list(batches))
            assert len(batches) == len(shares[-1])
            assert all(shares[-1]), "every process makes every step"
        batches = [list(chain(*parts)) for parts in zip(*shares, strict=True)]
        assert list(chain(*batches)) == whole
        assert [len(b) for b in batches[:-1]] == [8] * (len(batches) - 1)
        for parts in zip(*shares, strict=True):
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_short_last_batch_is_dropped_where_asked_for():
    batches = SharedBatches(SequentialSampler(range(20)), 8, True, 0, 2)
    assert list(batches) == [[0, 1, 2, 3], [8, 9, 10, 11]]


def test_batches_too_small_to_share_are_refused():
    with pytest.raises(
        DataError, match=r"3 processes cannot share batches of 2 .*task\.batch_size"
    ):
        SharedBatches(SequentialSampler(range(20)), 2, False, 0, 3)
    with pytest.raises(DataError, match=r"out of 2 items"):
        SharedBatches(SequentialSampler(range(2)), 8, False, 0, 3)


def test_the_first_process_starts_the_others_and_an_error_is_said_once(tmp_path):
    words = ["task=traffic", "model=fc_snn", "trainer=ddp", "trainer.devices=2"]
    words += ["trainer.accelerator=cpu", f"output_dir={tmp_path / 'out'}"]
    done = subprocess.run(
        [sys.executable, "-m", "snnexp", *words, "resume=nowhere.ckpt"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("nowhere.ckpt: no such checkpoint") == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists(), "nothing was begun"


def test_a_sweep_cannot_start_processes(tmp_path):
    words = ["task=traffic", "model=fc_snn", "trainer=ddp", "trainer.devices=2"]
    words += ["trainer.accelerator=cpu", f"output_dir={tmp_path}", "seed=0,1"]
    done = subprocess.run(
        [sys.executable, "-m", "snnexp", "-m", *words, "sweep.name=two"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    assert "a job of a sweep (-m) cannot start 2 processes itself" in " ".join(
        (done.stderr + done.stdout).split()
    )


def test_batch_norm_over_cpu_processes_is_refused_or_left_apart():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    cpu = torch.device("cpu")
    check_batch_norm(model, False, cpu)
    check_batch_norm(model[:1], True, cpu)
    check_batch_norm(model, True, torch.device("cuda"))
    with pytest.raises(ConfigError, match=r"sync_batchnorm=false"):
        check_batch_norm(model, True, cpu)


def fails_on_one(rank_that_fails):
    """A crew of which one process fails; say how each hears of it."""
    crew = Crew(make_trainer(config(Path("unused"), "trainer=ddp", "trainer.devices=2")))

    def work():
        if crew.rank == rank_that_fails:
            raise DataError("no file")
        return crew.rank

    try:
        crew.agree(work)
    except (DataError, PeerError) as error:
        print(type(error).__name__, error)
    print(crew.tell(f"from {crew.rank}"), crew.agree(lambda: crew.rank))


def test_a_failure_of_one_process_is_the_failure_of_all():
    codes, said = two("fails_on_one(1)")
    assert codes == [0, 0], said
    heard = [text.splitlines()[-2:] for text in said]
    assert heard[1] == ["DataError no file", "from 0 1"]
    assert heard[0] == ["PeerError process 1 stopped: DataError: no file", "from 0 0"]


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        ("[gloo/transport/tcp/pair.cc:561] Connection closed by peer [1.2.3.4]:5", LostPeerError),
        ("[gloo/transport/tcp/pair.cc:534] Read error: Connection reset by peer", LostPeerError),
        ("writev [1.2.3.4]:5: Broken pipe", LostPeerError),
        ("mat1 and mat2 shapes cannot be multiplied", RuntimeError),
    ],
)
def test_a_lost_process_is_told_from_other_errors(said, raised):
    with pytest.raises(raised) as error, naming_losses():
        raise RuntimeError(said)
    assert (raised is RuntimeError) == (str(error.value) == said)


def test_a_slurm_job_that_fits_no_trainer_is_refused_in_a_sentence(monkeypatch):
    job = {"SLURM_JOB_ID": "17", "SLURM_JOB_NAME": "x", "SLURM_NTASKS": "2"}
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"lightning\.Trainer: .*Use `--ntasks-per-node=2`"):
        make_trainer(config(Path("unused"), "trainer=ddp", "trainer.devices=2"))
