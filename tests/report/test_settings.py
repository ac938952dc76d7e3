from snnexp.report.collect import rows_of
from snnexp.report.settings import settings, variation
from snnexp.report.table import results_table
from tests.report.conftest import REAL, accuracy, make_result, rows


def test_settings_of_one_name_are_told_apart_by_what_the_command_changes():
    words = ["python", "-m", "snnexp", "-m", "experiment=x", "data=real", "seed=0,1"]
    more = ["+model.tau=2", "trainer.max_epochs=3"]
    plain, changed = (make_result(command=c, data=REAL) for c in (words, words + more))
    assert variation(rows_of(plain)[0]) == ""
    assert variation(rows_of(changed)[0]) == "+model.tau=2 trainer.max_epochs=3"
    assert "| speech-conv_snn, +model.tau=2 trainer" in results_table(rows(changed))


def test_each_seed_counts_once_by_its_latest_run():
    early = make_result(metrics=accuracy(0.1), id="a")
    late = make_result(metrics=accuracy(0.7), id="b", started="2026-02-01T00:00:00Z")
    (setting,) = settings(rows(late, early))
    assert setting.values("selected", "test/acc") == [0.7]


def test_folds_of_one_setting_are_averaged_with_their_baselines():
    config = {"seed": 0, "data_dir": "data", "task": {"n_folds": 3, "batch_size": 8}}
    caution = "subjects are unknown"

    def fold(k, value, linear, seed=0):
        return make_result(
            id=f"f{k}s{seed}",
            seed=seed,
            config=config | {"seed": seed, "task": config["task"] | {"fold": k}},
            data=REAL | {"fold": k, "folds": 3, "caution": caution},
            metrics=accuracy(value),
            baselines={"linear": linear},
            command=["python", "-m", "snnexp", "task=t", f"task.fold={k}"],
        )

    two = [fold(0, 0.9, 0.5), fold(2, 0.8, 0.6)]
    text = results_table(rows(*two))
    assert "**On real data, without a paper's claim**" in text
    assert (
        f"| speech-conv_snn | {caution} | test/acc | chosen on val "
        "| 85.0 ± 7.1 % (n = 2, folds 2 of 3) | linear 55.0 % |"
    ) in text
    again = results_table(rows(*two, fold(2, 0.7, 0.6, seed=1)))
    assert "80.0 ± 10.0 % (n = 3, folds 2 of 3)" in again
