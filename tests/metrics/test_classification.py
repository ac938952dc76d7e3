import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score

from snnexp.metrics.classification import Classification

CLASSES = ("yes", "no", "_unknown_", "rare")


def data(n=50, k=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, k - 1, (n,), generator=generator)  # the last class never occurs
    scores = torch.randn(n, k, generator=generator) + torch.nn.functional.one_hot(target, k)
    return scores, target


def test_figures_equal_scikit_learn_and_leave_out_absent_classes():
    scores, target = data()
    metric = Classification(CLASSES, "test", detailed=True)
    for s, t in zip(scores.split(16), target.split(16), strict=True):
        metric.update(s, t)
    figures, prediction = metric.compute(), scores.argmax(1)
    recall = recall_score(target, prediction, average=None, labels=[0, 1, 2])
    assert figures["test/acc"] == pytest.approx((prediction == target).double().mean().item())
    assert (prediction == 3).any()
    assert figures["test/balanced_acc"] == pytest.approx(recall.mean())
    seen = prediction != 3
    assert balanced_accuracy_score(target[seen], prediction[seen]) > 0
    for name, value in zip(CLASSES[:3], recall, strict=True):
        assert figures[f"test/recall/{name}"] == pytest.approx(value)
    assert "test/recall/rare" not in figures
    expected = confusion_matrix(target, prediction, labels=[0, 1, 2, 3])
    assert metric.confusion() == expected.tolist()


def test_batch_mean_counts_a_short_last_batch_fully():
    metric = Classification(("a", "b"), "test", detailed=True)
    right, wrong = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    metric.update(right.repeat(9, 1), torch.zeros(9, dtype=torch.long))
    metric.update(wrong, torch.zeros(1, dtype=torch.long))
    figures = metric.compute()
    assert figures["test/acc"] == pytest.approx(0.9)
    assert figures["test/batch_mean_acc"] == pytest.approx(0.5)


def test_plain_split_has_two_figures_and_resets():
    scores, target = data()
    metric = Classification(CLASSES, "val")
    metric.update(scores, target)
    assert set(metric.compute()) == {"val/acc", "val/balanced_acc"}
    metric.reset()
    metric.update(torch.eye(4), torch.arange(4))
    assert metric.compute() == {"val/acc": 1.0, "val/balanced_acc": 1.0}
    assert not metric.state_dict()


def test_top5():
    scores, target = data(n=200, k=12)
    metric = Classification([str(i) for i in range(12)], "test", top5=True)
    metric.update(scores, target)
    expected = (scores.topk(5).indices == target[:, None]).any(1).double().mean().item()
    assert metric.compute()["test/top5"] == pytest.approx(expected)
    with pytest.raises(ValueError, match="needs 10"):
        Classification(CLASSES, "test", top5=True)


def test_errors():
    metric = Classification(CLASSES, "test")
    with pytest.raises(ValueError, match=r"expected \(2, 4\)"):
        metric.update(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long))
    with (
        pytest.raises(ValueError, match="before any batch"),
        pytest.warns(UserWarning, match="before the"),
    ):
        metric.compute()
