"""The figures of two real processes (gloo) are those of one."""

import json

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from snnexp.metrics.activity import Activity, Tape
from snnexp.metrics.classification import Classification
from snnexp.metrics.synops import Probe, SynOps
from tests.metrics.conftest import TimeFirst


def figures(batches):
    """What one process, alone or in a group, says of its batches [T, B, F]."""
    torch.manual_seed(0)
    net = TimeFirst()
    tape, probe = Tape(net), Probe(net)
    probe.recording = True
    activity, synops = Activity(dt=0.01), SynOps(probe)
    scores = Classification(("a", "b", "c"), "test", detailed=True)
    for x in batches:
        out = net(x)
        activity.update(tape)
        synops.update(x.shape[1])
        scores.update(out, (x[0, :, 0] > 0).long())
    return [activity.compute(), synops.compute(), scores.compute(), scores.confusion()]


def inputs():
    x = torch.randn(6, 11, 5, generator=torch.Generator().manual_seed(4))
    return list(x.split(4, 1))  # 4, 4, 3


def worker(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    mine = inputs()[:2] if rank == 0 else inputs()[2:]
    (folder / f"{rank}.json").write_text(json.dumps(figures(mine)))
    dist.destroy_process_group()


def test_two_processes_with_uneven_shares_equal_one(tmp_path):
    mp.spawn(worker, args=(tmp_path,), nprocs=2)
    alone = json.loads(json.dumps(figures(inputs())))
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == alone
