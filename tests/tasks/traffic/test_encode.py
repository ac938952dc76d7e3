import numpy as np
import pytest

from tasks.traffic.encode import BINS, SHIFT, SIZE_BINS, TIME_BINS, histograms, size_edges

AUTHORS = {"length": 60.0, "time_axis": "span", "unpaired": "dummy"}
STRICT = {"length": 60.0, "time_axis": "fixed", "unpaired": "empty"}


def one(time0, size0, time1=(), size1=(), start=0.0, **form):
    """Return the histogram of one window of (times, sizes) by direction."""
    time = np.concatenate([time0, time1]).astype(float)
    size = np.concatenate([size0, size1]).astype(np.int32)
    n = len(time0)
    bounds = np.array([[[0, n], [n, len(time)]]])
    return histograms(time, size, bounds, np.array([start]), **form)[0]


def test_size_axis():
    edges = size_edges()
    assert len(edges) == 301
    assert (edges < SHIFT).sum() == 151
    assert edges[:3].tolist() == [0, 40, 41]
    assert edges[150:153].tolist() == [1570, 1590, 1591]
    assert edges[-1] == 3120
    # a 1,500-byte packet: bin 146 in direction 0, 298 (not 297) in direction 1
    assert BINS[1500] == 146
    assert BINS[SHIFT + 1500] == 298
    assert BINS[SHIFT] == 151
    assert len(BINS) - 1 - SHIFT == 1530


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("paired", [True, False])
def test_authors_histogram_equals_numpys(seed, paired):
    rng = np.random.default_rng(seed)
    time0 = np.sort(rng.uniform(15, 75, 400).round(6))
    size0 = rng.integers(0, 3300, 400)
    time1 = np.sort(rng.uniform(14, 75, 300).round(6)) if paired else np.zeros(0)
    size1 = rng.integers(0, 2000, len(time1))
    # what the authors hand to np.histogram2d: a lonely direction gets a packet of 0 bytes at 0
    times = np.concatenate([time0, time1 if paired else [0.0]])
    sizes = np.concatenate([size0, (size1 if paired else np.array([0])) + SHIFT])
    expected, _, _ = np.histogram2d(times, sizes, bins=[TIME_BINS, size_edges()])
    found = one(time0, size0, time1, size1, start=15.0, **AUTHORS)
    np.testing.assert_array_equal(found, expected)


def test_dummy_gives_the_window_away():
    time = np.linspace(75, 135, 200)
    counts = one(time, np.full(200, 100), start=75.0, **AUTHORS)
    assert counts[0, 151] == 1
    used = np.flatnonzero(counts[:, :151].sum(1))
    # the packets are squeezed into the last 60/135 of the bins
    assert used.min() == TIME_BINS * 75 // 135
    strict = one(time, np.full(200, 100), start=75.0, **STRICT)
    assert strict[:, 151:].sum() == 0
    first = one(time - 75, np.full(200, 100), start=0.0, **STRICT)
    np.testing.assert_array_equal(strict, first)


def test_fixed_axis_has_bins_of_200_ms():
    counts = one([30.0, 30.1, 30.2, 90.0], [50, 50, 50, 50], start=30.0, **STRICT)
    assert counts[:, BINS[50]].nonzero()[0].tolist() == [0, 1, 299]
    assert counts[0, BINS[50]] == 2


def test_sizes_off_the_axis():
    # authors: beyond 1,530 direction 1 falls off, direction 0 beyond 1,589 lands in direction 1
    counts = one([0.0, 60.0], [100, 1700], [0.0, 60.0], [100, 1531], **AUTHORS)
    assert counts.sum() == 3
    assert counts[-1].nonzero()[0].tolist() == [BINS[1700]]
    counts = one([0.0, 60.0], [100, 9000], [0.0, 60.0], [100, 9000], **STRICT)
    assert counts[-1].nonzero()[0].tolist() == [150, 299]


def test_counts_are_not_clipped():
    assert one([0.0] * 7 + [60.0], [90] * 8, **STRICT)[0, BINS[90]] == 7


def test_batches_are_independent():
    rng = np.random.default_rng(3)
    time, size = np.sort(rng.uniform(0, 90, 500)), rng.integers(40, 1500, 500).astype(np.int32)
    bounds = np.array([[[0, 100], [100, 200]], [[50, 400], [400, 500]], [[0, 500], [500, 500]]])
    start = np.array([0.0, 15.0, 30.0])
    for form in (AUTHORS, STRICT):
        together = histograms(time, size, bounds, start, **form)
        assert together.shape == (3, TIME_BINS, SIZE_BINS)
        for w in range(3):
            alone = histograms(time, size, bounds[w : w + 1], start[w : w + 1], **form)
            np.testing.assert_array_equal(together[w], alone[0])
