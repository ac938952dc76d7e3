import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from snnexp.metrics.detection import (
    Alarm,
    EventCounts,
    EventRule,
    alarms,
    count_events,
    roc_auc,
    smooth,
    window_figures,
)


def rule(**changed: float) -> EventRule:
    base = {
        "threshold": 0.5,
        "smoothing": 1,
        "merge_gap": 0.0,
        "min_duration": 0.0,
        "max_duration": 300.0,
        "before": 0.0,
        "after": 0.0,
    }
    return EventRule(**(base | changed))  # type: ignore[arg-type]


def test_auc_equals_scikit_learn_with_ties():
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = rng.random(50) < 0.3
        scores = rng.integers(0, 8, 50)
        assert roc_auc(truth, scores) == pytest.approx(roc_auc_score(truth, scores))


def test_auc_of_one_class_is_none():
    assert roc_auc(np.ones(3, bool), np.arange(3)) is None


def test_window_figures_by_hand():
    truth = np.array([1, 1, 1, 0, 0], bool)
    found = window_figures(truth, np.array([0.9, 0.8, 0.1, 0.7, 0.2]), 0.5)
    assert found["sensitivity"] == pytest.approx(2 / 3)
    assert found["specificity"] == pytest.approx(1 / 2)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["balanced_acc"] == pytest.approx(7 / 12)
    assert found["auc"] == pytest.approx(4 / 6)


def test_figures_without_denominator_are_left_out():
    found = window_figures(np.zeros(3, bool), np.zeros(3), 0.5)
    assert found == {"specificity": 1.0}


def test_authors_confusion_gives_the_papers_figures():
    # section 2.6 of the facts: [[14, 0], [1, 26]]
    truth = np.array([0] * 14 + [1] * 27, bool)
    said = np.array([0] * 15 + [1] * 26, float)
    found = window_figures(truth, said, 0.5)
    assert found["sensitivity"] == pytest.approx(26 / 27)
    assert (found["specificity"], found["precision"]) == (1.0, 1.0)


def test_smoothing_looks_back_only():
    assert smooth(np.array([0.0, 3.0, 0.0, 3.0]), 2).tolist() == [0.0, 1.5, 1.5, 1.5]
    jump = np.array([0.0] * 10 + [1.0] * 10)
    assert smooth(jump, 5)[:10].tolist() == [0.0] * 10


def windows(scores: list[float], length: float = 4.0, step: float = 2.0):
    start = np.arange(len(scores)) * step
    return start, start + length, np.array(scores)


def test_an_alarm_is_raised_when_its_first_window_ends():
    assert alarms(*windows([0, 0, 1, 1, 0]), rule()) == [Alarm(4.0, 10.0, 8.0)]


def test_near_alarms_merge_and_short_ones_are_dropped():
    scores = windows([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    assert len(alarms(*scores, rule())) == 3
    merged = alarms(*scores, rule(merge_gap=4.0))
    assert merged == [Alarm(0.0, 12.0, 4.0), Alarm(26.0, 30.0, 30.0)]
    assert alarms(*scores, rule(merge_gap=4.0, min_duration=5.0)) == merged[:1]


def test_long_alarms_are_cut():
    pieces = alarms(*windows([1.0] * 10), rule(max_duration=8.0))
    assert [(a.start, a.end) for a in pieces] == [(0, 8), (8, 16), (16, 22)]
    assert pieces[0].raised == 4.0
    assert all(a.raised >= a.start for a in pieces)


def test_events_are_matched_by_overlap_with_tolerance():
    raised = [Alarm(90, 110, 94), Alarm(300, 310, 304), Alarm(500, 504, 504)]
    events = [(100.0, 140.0), (320.0, 350.0), (700.0, 720.0)]
    strict = count_events(events, raised, 3600.0, rule())
    assert (strict.detected, strict.false_alarms, strict.latencies) == (1, 2, (-6.0,))
    lenient = count_events(events, raised, 3600.0, rule(before=30.0))
    assert (lenient.detected, lenient.false_alarms) == (2, 1)
    assert lenient.latencies == (-6.0, -16.0)
    found = lenient.figures()
    assert found["event_sensitivity"] == pytest.approx(2 / 3)
    assert found["event_precision"] == pytest.approx(2 / 3)
    assert found["event_f1"] == pytest.approx(2 / 3)
    assert found["false_alarms_per_hour"] == 1.0
    assert found["latency_mean"] == -11.0


def test_touching_is_not_overlap():
    counts = count_events([(10.0, 20.0)], [Alarm(20.0, 24.0, 24.0)], 60.0, rule())
    assert (counts.detected, counts.false_alarms) == (0, 1)


def test_one_alarm_may_detect_two_events_and_two_alarms_one_event():
    both = count_events([(0.0, 10.0), (20.0, 30.0)], [Alarm(5, 25, 9)], 60.0, rule())
    assert (both.detected, both.false_alarms) == (2, 0)
    twice = count_events([(0.0, 30.0)], [Alarm(5, 9, 9), Alarm(15, 19, 19)], 60.0, rule())
    assert (twice.detected, twice.false_alarms, twice.latencies) == (1, 0, (9.0,))


def test_counts_of_recordings_add_up():
    a = count_events([(0.0, 10.0)], [Alarm(2, 6, 6)], 1800.0, rule())
    b = count_events([], [Alarm(2, 6, 6)], 5400.0, rule())
    found = (a + b).figures()
    assert (found["events"], found["hours"]) == (1.0, 2.0)
    assert (found["event_precision"], found["false_alarms_per_hour"]) == (0.5, 0.5)
    assert "event_sensitivity" not in b.figures()
    assert EventCounts().figures() == {"events": 0.0, "hours": 0.0}
