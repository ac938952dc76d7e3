import numpy as np
import pytest

from tasks.traffic.labels import CLASSES
from tasks.traffic.metrics import confusion, derived_problems

K = {name: k for k, name in enumerate(CLASSES)}


def figures(*pairs):
    target, predicted = (np.array([K[name] for name in side]) for side in zip(*pairs, strict=True))
    return derived_problems(confusion(target, predicted, len(CLASSES)))


def test_confusion_is_true_by_predicted():
    matrix = confusion(np.array([0, 0, 1]), np.array([1, 1, 1]), 3)
    assert matrix.tolist() == [[0, 2, 0], [0, 1, 0], [0, 0, 0]]


def test_a_category_is_right_under_any_predicted_encryption():
    found = figures(
        ("Chat_Tor", "Chat_Tor"),
        ("Chat_Tor", "Chat_VPN"),
        ("Chat_Tor", "Video_Tor"),
        ("Chat_VPN", "VOIP_VPN"),
    )
    assert found["category_Tor_acc"] == pytest.approx(2 / 3)
    assert found["category_VPN_acc"] == 0
    assert "category_nonVPN_acc" not in found
    assert found["category_acc"] == 0.5
    assert found["encryption_acc"] == 0.75


def test_class_against_all():
    found = figures(
        ("Chat_Tor", "Chat_Tor"),
        ("Chat_Tor", "Video_Tor"),
        ("Video_Tor", "Chat_Tor"),
        ("Video_VPN", "Video_VPN"),
    )
    assert found["Chat_Tor_vs_all_acc"] == 0.5
    assert found["Chat_Tor_vs_all_f1"] == 0.5
    assert found["Video_VPN_vs_all_acc"] == 1
    assert "Browsing_Tor_vs_all_acc" not in found


def test_all_right_and_nothing():
    perfect = derived_problems(np.eye(14, dtype=int) * 3)
    assert set(perfect.values()) == {1.0}
    assert {"category_nonVPN_acc", "category_Tor_acc", "category_VPN_acc"} <= set(perfect)
    assert derived_problems(np.zeros((14, 14), int)) == {}
