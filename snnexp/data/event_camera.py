"""A simulated event camera: sample data of the event tasks are what it sees of rendered scenes.

Letters: M images, H W sensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from snnexp.data.events import Events, Sensor


class EventCamera:
    """Pixels that tell changes of log intensity beyond a threshold, with noise.

    L is a pixel's log intensity, linear in time between two images; ref starts as the first L.

        L(t) - ref >=  theta_on   an ON event,  ref <- ref + theta_on     (1)
        L(t) - ref <= -theta_off  an OFF event, ref <- ref - theta_off    (2)

    After an event a pixel is blind for `refractory_us`. Each pixel draws its own theta_on and
    theta_off from a normal distribution (mean `threshold`, relative deviation `mismatch`) and fires
    at random at a rate that is log-normal over pixels with mean `noise_hz`.
    The model is that of Lichtsteiner et al. 2008 (IEEE JSSC 43, 566), as in common simulators;
    leak, motion-dependent latency and bandwidth are left out.

    State is kept between calls of `expose`, so that a long film may come in parts.
    """

    def __init__(
        self,
        sensor: Sensor,
        rng: np.random.Generator,
        *,
        threshold: float,
        mismatch: float,
        noise_hz: float,
        refractory_us: int,
    ) -> None:
        self.sensor, self.rng, self.refractory_us = sensor, rng, refractory_us
        spread = 1 + mismatch * rng.standard_normal((2, *sensor))
        self.theta = (threshold * np.clip(spread, 0.3, 3)).astype(np.float32)
        self.noise_hz = noise_hz * rng.lognormal(-0.5, 1.0, sensor)
        self.ref: NDArray[np.float32] | None = None
        self.log: NDArray[np.float32] | None = None
        self.blind = np.full(sensor, np.iinfo(np.int64).min, np.int64)
        self.now = 0

    def expose(self, log_images: NDArray[np.float32], times_us: NDArray[np.int64]) -> Events:
        """Return the events, in order of time, from the last call's end to the last image.

        `log_images` [M, H, W] are log intensities at `times_us` [M], which increase.
        """
        if self.ref is None or self.log is None:
            self.ref, self.log = log_images[0].copy(), log_images[0].copy()
            self.now = int(times_us[0])
        start = self.now
        x, y, t, p = _expose(
            *(log_images, times_us, self.log, self.now, self.ref, self.blind),
            *(self.theta[0], self.theta[1], self.refractory_us),
        )
        self.log, self.now = log_images[-1].copy(), int(times_us[-1])
        signal = Events(x, y, t, p)
        together = Events.concatenate([signal, self._noise(start, self.now)])
        return together.where(np.argsort(together.t, kind="stable"))

    def _noise(self, start: int, stop: int) -> Events:
        total = self.noise_hz.sum() * (stop - start) * 1e-6
        n = int(self.rng.poisson(total))
        if not n:
            return Events.none()
        edges = np.cumsum(self.noise_hz) / self.noise_hz.sum()
        pixel = np.minimum(np.searchsorted(edges, self.rng.random(n)), edges.size - 1)
        y, x = np.divmod(pixel, self.sensor.width)
        t = self.rng.integers(start, max(stop, start + 1), n)
        p = self.rng.integers(0, 2, n)
        return Events(x.astype(np.int16), y.astype(np.int16), t, p.astype(np.uint8))


@njit(cache=True, nogil=True)
def _expose(images, times, log, now, ref, blind, theta_on, theta_off, refractory):
    """Run (1) and (2) over all images; the events of one interval come pixel by pixel."""
    capacity, n = 4096, 0
    xs, ys = np.empty(capacity, np.int16), np.empty(capacity, np.int16)
    ts, ps = np.empty(capacity, np.int64), np.empty(capacity, np.uint8)
    for m in range(images.shape[0]):
        before = log if m == 0 else images[m - 1]
        begin = now if m == 0 else times[m - 1]
        duration = times[m] - begin
        if duration <= 0:
            continue
        for y in range(images.shape[1]):
            for x in range(images.shape[2]):
                old, new = before[y, x], images[m, y, x]
                # most pixels cross nothing: decide that first, without a branch on the direction
                if ref[y, x] - theta_off[y, x] < new < ref[y, x] + theta_on[y, x]:
                    continue
                sign = 1 if new > ref[y, x] else -1
                theta = theta_on[y, x] if sign > 0 else theta_off[y, x]
                while sign * (new - ref[y, x]) >= theta:
                    level = ref[y, x] + sign * theta
                    share = min(max((level - old) / (new - old), 0.0), 1.0) if new != old else 1.0
                    ref[y, x] = level
                    t = begin + np.int64(share * duration)
                    if t < blind[y, x]:
                        continue
                    blind[y, x] = t + refractory
                    if n == capacity:
                        capacity *= 2
                        xs, ys = _grow(xs, capacity), _grow(ys, capacity)
                        ts, ps = _grow(ts, capacity), _grow(ps, capacity)
                    xs[n], ys[n], ts[n], ps[n] = x, y, t, sign > 0
                    n += 1
    return xs[:n], ys[:n], ts[:n], ps[:n]


@njit(cache=True, nogil=True)
def _grow(array, capacity):
    larger = np.empty(capacity, array.dtype)
    larger[: array.shape[0]] = array
    return larger


@njit(cache=True, nogil=True)
def pan(picture: Any, dx: Any, dy: Any, height: int, width: int) -> Any:
    """Move a picture before a camera: image m [H, W] shows it shifted by (dx[m], dy[m]) pixels.

    With no shift the picture's centre is the camera's. Between pixels the values are bilinear;
    beyond its border the picture goes on with its border values.
    """
    tall, wide = picture.shape
    images = np.empty((dx.shape[0], height, width), np.float32)
    column = np.empty(width + 1, np.int64)
    for m in range(dx.shape[0]):
        # all pixels lie equally far from the picture's own, so that the weights are the image's
        left, top = (wide - width) / 2 - dx[m], (tall - height) / 2 - dy[m]
        x0, y0 = int(np.floor(left)), int(np.floor(top))
        fx, fy = np.float32(left - x0), np.float32(top - y0)
        for x in range(width + 1):
            column[x] = min(max(x0 + x, 0), wide - 1)
        for y in range(height):
            upper = picture[min(max(y0 + y, 0), tall - 1)]
            lower = picture[min(max(y0 + y + 1, 0), tall - 1)]
            for x in range(width):
                a, b = column[x], column[x + 1]
                high = upper[a] + fx * (upper[b] - upper[a])
                low = lower[a] + fx * (lower[b] - lower[a])
                images[m, y, x] = high + fy * (low - high)
    return images
