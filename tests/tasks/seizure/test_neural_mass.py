import math

import numpy as np
import pytest

from tasks.seizure.neural_mass import simulate
from tasks.seizure.scene import STATES


def drive(steps: int, columns: int, seed: int = 0, std: float = 300.0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((steps, columns))
    return (90 + std * noise).astype(np.float32)


def gains(state: str, steps: int, columns: int) -> np.ndarray:
    return np.tile(np.array(STATES[state], np.float32)[None, :, None], (steps, 1, columns))


def reference(gains_P3C, hold, drive_TC, rate, coupling, delay):
    """The equations of Wendling et al. 2002, one line each."""

    def s(v: float) -> float:
        return 5.0 / (1 + math.exp(0.56 * (6.0 - v)))

    steps, columns = drive_TC.shape
    lag, dt = max(1, round(delay * rate)), 1 / rate
    y, dy = np.zeros((5, columns)), np.zeros((5, columns))
    history = [[s(-40.0)] * columns for _ in range(lag)]
    lfp = np.zeros((steps, columns))
    for t in range(steps):
        heard = history[-lag]
        for c in range(columns):
            a, b, g = (float(x) for x in gains_P3C[t // hold, :, c])
            near = sum(heard[k] for k in (c - 1, c + 1) if 0 <= k < columns)
            p = float(drive_TC[t, c]) + coupling * near
            y0, y1, y2, y3, y4 = y[:, c]
            inputs = [
                (a, 100.0, s(y1 - y2 - y3)),
                (a, 100.0, p + 108.0 * s(135.0 * y0)),
                (b, 50.0, 33.75 * s(33.75 * y0)),
                (g, 500.0, 108.0 * s(40.5 * y0 - 13.5 * y4)),
                (b, 50.0, s(33.75 * y0)),
            ]
            for k, (gain, w, u) in enumerate(inputs):
                dy[k, c] += dt * (gain * w * u - 2 * w * dy[k, c] - w * w * y[k, c])
            y[:, c] += dt * dy[:, c]
            lfp[t, c] = y[1, c] - y[2, c] - y[3, c]
        history.append([s(v) for v in lfp[t]])
    return lfp


def test_equals_the_written_out_equations():
    steps, hold = 300, 20
    path = np.concatenate([gains("background", 8, 3), gains("fast", 7, 3)])
    path[4:9, :, 1] = np.array(STATES["spikes"])
    p = drive(steps, 3)
    got = simulate(path, hold, p, 1000.0, coupling=8.0, delay=0.01)
    want = reference(path, hold, p, 1000.0, coupling=8.0, delay=0.01)
    # the sigmoid's table is good to 1e-4 of its range
    assert np.abs(got - want).max() < 2e-3 * np.abs(want).max()


def power(state: str) -> tuple[np.ndarray, np.ndarray]:
    steps = 20_000
    x = simulate(gains(state, 1, 1), steps, drive(steps, 1), 1000.0, 0.0, 0.01)[2000:, 0]
    x = x - x.mean()
    return np.fft.rfftfreq(len(x), 1e-3), np.abs(np.fft.rfft(x)) ** 2 / len(x)


@pytest.mark.parametrize(
    ("state", "low", "high"),
    [("fast", 25.0, 45.0), ("alpha", 8.0, 13.0), ("spikes", 3.0, 7.0), ("burst", 3.0, 6.5)],
)
def test_states_have_their_rhythm(state, low, high):
    f, p = power(state)
    smoothed = np.convolve(p, np.ones(27) / 27, "same")
    peak = f[1:][smoothed[1:].argmax()]
    assert low < peak < high


def test_ictal_states_are_larger_than_background():
    sizes = {
        state: power(state)[1].sum() for state in ("background", "spikes", "burst", "rhythmic")
    }
    assert all(sizes[s] > 3 * sizes["background"] for s in ("spikes", "burst", "rhythmic"))


def test_neighbours_hear_each_other_after_the_delay():
    steps = 400
    quiet, loud = drive(steps, 2, std=0.0), drive(steps, 2, std=0.0)
    loud[100:, 0] += 400
    path = gains("background", 1, 2)
    run = {
        k: simulate(path, steps, p, 1000.0, coupling=20.0, delay=0.02)
        for k, p in {"quiet": quiet, "loud": loud}.items()
    }
    differs = np.abs(run["loud"] - run["quiet"]).max(0)
    assert differs[1] > 0.05
    first = np.flatnonzero(np.abs(run["loud"] - run["quiet"])[:, 1] > 0)[0]
    assert first >= 120


def test_gains_that_do_not_cover_the_drive_are_refused():
    with pytest.raises(ValueError, match="do not cover"):
        simulate(gains("background", 2, 1), 10, drive(21, 1), 1000.0, 0.0, 0.01)


def test_a_rate_at_which_it_would_explode_is_refused():
    with pytest.raises(ValueError, match="unstable"):
        simulate(gains("background", 1, 1), 20, drive(20, 1), 512.0, 0.0, 0.01)
