"""The simulated camera against its equations, pixel by pixel; its film, against shifts by hand."""

import numpy as np
import pytest

from snnexp.data.event_camera import EventCamera, pan
from snnexp.data.events import Events, Sensor

ONE = Sensor(1, 1)


def camera(sensor=ONE, **options):
    defaults = {"threshold": 0.25, "mismatch": 0.0, "noise_hz": 0.0, "refractory_us": 0}
    return EventCamera(sensor, np.random.default_rng(0), **(defaults | options))


def film(values):
    return np.array(values, np.float32).reshape(-1, 1, 1)


def test_events_stand_where_the_ramp_crosses():
    events = camera().expose(film([0, 1, 0.5]), np.array([0, 1000, 2000]))
    # up by 0.25 each 250 us to a reference of 1; down again by 0.25 at half and at full way
    assert events.t.tolist() == [250, 500, 750, 1000, 1500, 2000]
    assert events.p.tolist() == [1, 1, 1, 1, 0, 0]


def test_below_threshold_nothing_happens():
    events = camera().expose(film([0, 0.2, 0, -0.2, 0]), np.arange(5) * 1000)
    assert len(events) == 0


def test_refractory_time_hides_events():
    events = camera(refractory_us=300).expose(film([0, 1]), np.array([0, 1000]))
    assert events.t.tolist() == [250, 750]


def test_a_film_in_parts_gives_the_same_events():
    rng = np.random.default_rng(1)
    images = rng.normal(0, 1, (20, 6, 7)).cumsum(0).astype(np.float32)
    times = np.arange(20) * 500
    whole = camera(Sensor(6, 7), mismatch=0.2, refractory_us=100).expose(images, times)
    parted = camera(Sensor(6, 7), mismatch=0.2, refractory_us=100)
    parts = [parted.expose(images[i : i + 7], times[i : i + 7]) for i in range(0, 20, 7)]
    joined = Events.concatenate(parts)
    assert len(whole) > 1000
    for name in "xytp":
        np.testing.assert_array_equal(getattr(whole, name), getattr(joined, name))


def test_noise_has_its_rate_and_no_polarity():
    still = np.zeros((2, 40, 50), np.float32)
    seen = camera(Sensor(40, 50), noise_hz=5.0).expose(still, np.array([0, 10_000_000]))
    rate = len(seen) / (40 * 50 * 10)
    assert rate == pytest.approx(5.0, rel=0.15)
    assert seen.p.mean() == pytest.approx(0.5, abs=0.02)
    assert np.all(np.diff(seen.t) >= 0)


def test_mismatch_spreads_thresholds():
    wide = camera(Sensor(30, 30), mismatch=0.2)
    assert wide.theta.std() / wide.theta.mean() == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (0, -2), (1, 4)])
def test_pan_shifts_by_whole_pixels(dx, dy):
    picture = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    image = pan(picture, np.array([float(dx)]), np.array([float(dy)]), 10, 20)[0]
    top, left = 10 - dy, 10 - dx
    np.testing.assert_allclose(image, picture[top : top + 10, left : left + 20], atol=1e-6)


def test_pan_is_linear_between_pixels():
    picture = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    at = [pan(picture, np.array([x]), np.array([0.0]), 10, 20)[0] for x in (0.0, 0.25, 1.0)]
    np.testing.assert_allclose(at[1], 0.75 * at[0] + 0.25 * at[2], atol=1e-5)
