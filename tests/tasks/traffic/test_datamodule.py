import shutil
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
import yaml

from snnexp.data.base import DataError, Predictions
from tasks.traffic import datamodule, sample
from tasks.traffic.baseline import marginals
from tasks.traffic.datamodule import TrafficTask
from tasks.traffic.labels import CLASSES
from tests.tasks.one_file import taken_up
from tests.tasks.traffic import packets as p

KEYS = {
    "data": "real",
    "batch_size": 16,
    "num_workers": 0,
    "source": "captures",
    "labels": None,
    "unlabelled": "error",
    "bad_captures": "error",
    "window": 60.0,
    "stride": 15.0,
    "min_packets": 10,
    "min_span": 40.0,
    "max_windows_per_flow": 1000,
    "clock": "flow",
    "time_axis": "fixed",
    "unpaired": "empty",
    "split": "capture",
    "shares": {"train": 0.65, "val": 0.15, "test": 0.20},
    "seed": 0,
    "split_seed": 0,
    "balanced": True,
    "jobs": 1,
}
AUTHORS = {"clock": "direction", "time_axis": "span", "unpaired": "dummy", "split": "window"}


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    """Four small captures a class."""
    folder = tmp_path_factory.mktemp("data") / "ISCX"
    folder.mkdir()
    sample.write_sample(folder, 4)
    return folder.parent


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def task(data_dir, cache_dir, **changes):
    made = TrafficTask(
        **{**KEYS, "data_dir": str(data_dir), "cache_dir": str(cache_dir), **changes}
    )
    made.prepare_data()
    made.setup("fit")
    return made


def small(tmp_path, files):
    """Write {path: bytes} below tmp_path/data; return that folder."""
    for path, content in files.items():
        place = tmp_path / "data" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return tmp_path / "data"


def talk(k, seconds=70.0, step=1.0):
    ends = (f"10.0.0.{k + 1}", "10.0.1.1")
    return p.pcap(p.two_way(seconds, step, ends, start=1.6e9 + 1000 * k))


GOOD = {f"vpn_skype_chat{k}.pcap": talk(k) for k in range(4)}


def test_keys_are_those_of_the_yaml():
    path = Path(__file__).parents[3] / "configs/task/traffic.yaml"
    content = yaml.safe_load(path.read_text())
    assert set(content) - {"_target_", "data_dir", "cache_dir"} == set(KEYS)


def test_strict(captures, cache):
    made = task(captures, cache)
    assert made.spec.step_shape == (300,)
    assert made.spec.n_steps == 300
    assert made.spec.dt == 0.2
    assert made.spec.classes == CLASSES
    data = made.datasets["train"].data
    sides = {}
    for split, dataset in made.datasets.items():
        flows = data.windows.flow[dataset.members]
        sides[split] = {data.flow_source[f] for f in flows} | {data.flow_names[f] for f in flows}
    assert not sides["train"] & sides["test"]
    assert not sides["train"] & sides["val"]
    assert not sides["val"] & sides["test"]
    report = made.report()
    assert report.notes["packets dropped: not IP"] > 0
    assert report.notes["packets dropped: neither TCP nor UDP"] > 0
    assert report.notes["windows dropped: too few packets"] > 0


def test_authors(captures, cache):
    made = task(captures, cache, **AUTHORS)
    assert made.spec.dt is None
    sizes = made.report().sizes
    total = sum(sizes.values())
    assert sizes["train"] == pytest.approx(0.65 * total, abs=2)
    data = made.datasets["train"].data
    flows = {s: set(data.windows.flow[d.members]) for s, d in made.datasets.items()}
    # the leak the strict protocol closes
    assert len(flows["train"] & flows["test"]) > 0.5 * len(flows["test"])


def test_batches(captures, cache):
    made = task(captures, cache)
    seen = []
    for batch in made.test_dataloader():
        assert batch["input"].shape[1:] == (300, 300)
        assert batch["input"].dtype == torch.float32
        seen += batch["index"].tolist()
        assert (batch["target"] == made.datasets["test"].targets[batch["index"]]).all()
    assert seen == list(range(len(made.datasets["test"])))
    item = made.datasets["test"][3]
    assert item["input"].shape == (300, 300)
    # a window's packets, no more and no less (the sample has no size off the axis)
    windows, w = made.datasets["test"].data.windows, made.datasets["test"].members[3]
    assert item["input"].sum() == np.diff(windows.bounds[w], axis=1).sum()
    first = next(iter(made.train_dataloader()))
    assert first["input"].shape == (16, 300, 300)


def test_balanced_sampling(captures, cache):
    made = task(captures, cache, batch_size=64)
    loader = made.train_dataloader()
    drawn = torch.cat([b["target"] for _ in range(20) for b in loader])
    share = torch.bincount(drawn, minlength=14) / len(drawn)
    assert (share - 1 / 14).abs().max() < 0.02


def test_the_cache_is_used_again(captures, cache, monkeypatch):
    task(captures, cache)
    monkeypatch.setattr("tasks.traffic.extract.read_flows", None)
    task(captures, cache, split_seed=3)


def test_hooks(captures, cache, tmp_path):
    made = task(captures, cache)
    baselines = made.baselines()
    assert 0 < baselines["chance"] < 0.2 < baselines["linear"] <= 1
    target = made.datasets["test"].targets
    scores = torch.nn.functional.one_hot(target, 14).float()
    perfect = Predictions(scores, target, torch.arange(len(target)))
    figures = made.extra_metrics("test", perfect)
    assert figures["encryption_acc"] == figures["category_Tor_acc"] == 1
    assert figures["Chat_VPN_vs_all_f1"] == 1
    (path,) = made.figures("test", perfect, tmp_path)
    assert path.stat().st_size > 10_000
    shown = made.shown(perfect)
    assert [*shown] == ["", *(made.spec.classes[k] for k in target.unique())]
    for name, batch in shown.items():
        (found,) = batch["target"].tolist()
        assert found == (target[0] if name == "" else made.spec.classes.index(name))
        assert target[: batch["index"][0]].tolist().count(found) == 0
    assert made.state()["time_axis"] == "fixed"
    table = marginals(made.datasets["test"])
    np.testing.assert_allclose(table[:, :300].sum(1), table[:, 300:].sum(1))


def test_the_sample_is_read_by_the_same_loader(tmp_path, monkeypatch):
    monkeypatch.setattr(datamodule, "SAMPLE_CAPTURES", 3)
    made = task("nowhere", tmp_path, data="sample")
    assert made.report().variant == "sample"
    assert set(made.datasets["train"].targets.tolist()) == set(range(14))
    assert (tmp_path / "samples").is_dir()


def test_flowpic(tmp_path):
    rows = []
    for k in range(12):
        times = [round(0.5 * i, 1) for i in range(150)]
        fields = [1.5e9, 150, *times, "", *[100 + k] * 150]
        rows.append(",".join(map(str, [f"chat{k}", f"1.1.1.{k}", 5, "2.2.2.2", 6, "TCP", *fields])))
        rows.append(",".join(map(str, [f"chat{k}", "2.2.2.2", 6, f"1.1.1.{k}", 5, "TCP", *fields])))
    folder = small(tmp_path, {"Classes_csv/Chat/Tor/all.csv": "\n".join(rows).encode()})
    made = task(folder, tmp_path / "c", source="flowpic", **AUTHORS)
    assert sum(made.report().sizes.values()) == 12
    assert set(made.datasets["train"].targets.tolist()) == {CLASSES.index("Chat_Tor")}
    assert made.report().notes["rows"] == 24
    strict = task(folder, tmp_path / "c", source="flowpic")
    # captures named in the rows are what is kept whole
    assert len(set(strict.datasets["train"].data.flow_source)) == 12


def test_a_text_file_among_captures(tmp_path):
    folder = small(tmp_path, {**GOOD, "NonVPN/facebookchat1.PCAP": b"hello, this is a text"})
    with pytest.raises(DataError, match=r"facebookchat1\.PCAP is not a readable capture"):
        task(folder, tmp_path / "c")
    made = task(folder, tmp_path / "c", bad_captures="skip")
    assert made.report().notes["unreadable files skipped"] == 1


def test_no_packets_and_damage_are_counted(tmp_path):
    files = {**GOOD, "icq_chat1.pcap": p.pcap([]), "icq_chat2.pcap": talk(9)[:-7]}
    notes = task(small(tmp_path, files), tmp_path / "c").report().notes
    assert notes["captures without packets"] == 1
    assert notes["files without a window"] == 1
    assert notes["captures damaged, read up to there"] == 1


def test_a_label_no_rule_matches(tmp_path):
    folder = small(tmp_path, {**GOOD, "monday.pcap": talk(7), "Tor/AUDIO_spotify.pcap": talk(8)})
    with pytest.raises(DataError, match=r"class of monday\.pcap.*task\.labels"):
        task(folder, tmp_path / "c")
    notes = task(folder, tmp_path / "c", unlabelled="skip").report().notes
    assert notes["files without a label rule"] == 1
    assert notes["files of other categories"] == 1


def test_a_table_of_ones_own(tmp_path):
    folder = small(tmp_path, {f"day{k}.pcap": talk(k) for k in range(4)})
    table = tmp_path / "mine.yaml"
    table.write_text("encryption: [{match: '', is: Tor}]\ncategory: [{match: day, is: Browsing}]\n")
    made = task(folder, tmp_path / "c", labels=str(table))
    assert set(made.datasets["train"].targets.tolist()) == {CLASSES.index("Browsing_Tor")}


def test_a_flow_that_never_ends(tmp_path):
    folder = small(tmp_path, {**GOOD, "vpn_skype_chat9.pcap": talk(9, seconds=9000, step=3.0)})
    made = task(folder, tmp_path / "c", max_windows_per_flow=20)
    windows = made.datasets["train"].data.windows
    assert np.bincount(windows.flow).max() == 20
    assert made.report().notes["windows dropped: beyond task.max_windows_per_flow"] > 500


def test_nothing_to_read(tmp_path):
    with pytest.raises(DataError, match=r"is no folder.*unb\.ca"):
        task(tmp_path / "none", tmp_path / "c")
    with pytest.raises(DataError, match=r"no \.pcap"):
        task(small(tmp_path, {"readme.txt": b""}), tmp_path / "c")
    folder = small(tmp_path, {"vpn_skype_chat1.pcap": talk(1, seconds=20)})
    with pytest.raises(DataError, match="gave no window"):
        task(folder, tmp_path / "c")


def test_too_few_captures_for_a_split(tmp_path):
    folder = small(tmp_path, dict(list(GOOD.items())[:2]))
    with pytest.raises(DataError, match="no window is left for val"):
        task(folder, tmp_path / "c")


def test_an_unwritable_cache(tmp_path):
    folder = small(tmp_path, GOOD)
    (tmp_path / "c").write_text("a file where a folder is wanted")
    with pytest.raises(DataError, match="could not be written"):
        task(folder, tmp_path / "c")


def test_a_changed_capture_is_read_again(tmp_path):
    folder = small(tmp_path, GOOD)
    before = sum(task(folder, tmp_path / "c").report().sizes.values())
    (folder / "vpn_skype_chat0.pcap").write_bytes(talk(0, seconds=130))
    assert sum(task(folder, tmp_path / "c").report().sizes.values()) == before + 4


def test_bad_keys(tmp_path):
    with pytest.raises(ValueError, match="flowpic needs data=real"):
        task(tmp_path, tmp_path, data="sample", source="flowpic")
    with pytest.raises(ValueError, match=r"task\.stride=0"):
        task(tmp_path, tmp_path, stride=0)
    with pytest.raises(ValueError, match=r"task\.shares"):
        task(tmp_path, tmp_path, shares={"train": 1.0})


def test_two_workers_read_the_same(captures, tmp_path, monkeypatch):
    one = task(captures, tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    monkeypatch.setattr("tasks.traffic.extract.BYTES_A_PROCESS", 1)
    with joblib.parallel_config(backend="threading"):
        two = task(captures, tmp_path / "b", jobs=2)
    np.testing.assert_array_equal(
        one.datasets["test"].data.windows.time, two.datasets["test"].data.windows.time
    )
    assert one.report().notes == two.report().notes


@pytest.mark.parametrize("keys", [{}, AUTHORS])
def test_a_capture_alone_gives_the_windows_of_the_data_set(captures, cache, tmp_path, keys):
    made = task(captures, cache, **keys)
    paths = {"data_dir": "none", "cache_dir": str(tmp_path / "none")}
    fresh = taken_up(made, TrafficTask(**{**KEYS, **paths, **keys}), tmp_path / "run")
    dataset = made.datasets["test"]
    data = dataset.data
    source = np.array(data.flow_source)[data.windows.flow]
    name = source[dataset.members[0]]
    found = fresh.read_input(captures / "ISCX" / name)
    assert len(found) == (source == name).sum()
    rows = {f"{data.flow_names[data.windows.flow[w]]}, {data.windows.start[w]:g}": i
            for i, w in enumerate(dataset.members) if source[w] == name}  # fmt: skip
    assert rows
    for key, i in rows.items():
        (one,) = (o for o in found if o.name.startswith(f"{key}-"))
        assert torch.equal(one.input, dataset[i]["input"])


def test_a_capture_without_a_window_is_said_with_its_counts(captures, cache, tmp_path):
    fresh = taken_up(
        task(captures, cache),
        TrafficTask(**{**KEYS, "data_dir": "none", "cache_dir": "none"}),
        tmp_path / "run",
    )
    path = tmp_path / "short.pcap"
    path.write_bytes(talk(0, seconds=5.0))
    with pytest.raises(DataError, match=r"short\.pcap gave no window of 60 s .*flows: 1"):
        fresh.read_input(path)
    path.write_bytes(b"no capture")
    with pytest.raises(DataError, match="not a readable capture"):
        fresh.read_input(path)
