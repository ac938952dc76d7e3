"""Cortical columns coupled on a chain: Wendling's neural-mass model, for the sample recordings.

Letters: T time steps, P parameter steps, C columns.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

# Wendling et al. 2002: rates of the synapses (1/s), connectivity, static non-linearity.
_A_RATE, _B_RATE, _G_RATE = 100.0, 50.0, 500.0
_C1, _C2, _C3, _C4, _C5, _C6, _C7 = 135.0, 108.0, 33.75, 33.75, 40.5, 13.5, 108.0
_E0, _V0, _R = 2.5, 6.0, 0.56

# The sigmoid is read from a table, with additions and products in between: faster than an
# exponential, and the same bits on every machine (the model is chaotic: one ulp would matter).
_LOWEST, _PER_MV, _ENTRIES = -40.0, 64.0, 6401
_SIGMOID = np.array(
    [2 * _E0 / (1 + math.exp(_R * (_V0 - (_LOWEST + i / _PER_MV)))) for i in range(_ENTRIES)],
    dtype=np.float32,
).astype(np.float64)

#: mean of the drive p in pulses per second, from the same article
MEAN_DRIVE = 90.0


@njit(cache=True, nogil=True)
def _sigmoid(v, table):
    x = min(max((v - _LOWEST) * _PER_MV, 0.0), _ENTRIES - 1.001)
    i = int(x)
    return table[i] + (x - i) * (table[i + 1] - table[i])


@njit(cache=True, nogil=True)
def _integrate(gains, hold, drive, coupling, delay, dt, table, lfp):
    steps, columns = drive.shape
    y = np.zeros((5, columns))
    dy = np.zeros((5, columns))
    fired = np.full((delay, columns), table[0])
    for t in range(steps):
        slot, p = t % delay, t // hold
        for c in range(columns):
            heard = 0.0
            if c > 0:
                heard += fired[slot, c - 1]
            if c < columns - 1:
                heard += fired[slot, c + 1]
            pyramidal = _sigmoid(y[1, c] - y[2, c] - y[3, c], table)
            excitatory = drive[t, c] + coupling * heard + _C2 * _sigmoid(_C1 * y[0, c], table)
            slow = _sigmoid(_C3 * y[0, c], table)
            fast = _C7 * _sigmoid(_C5 * y[0, c] - _C6 * y[4, c], table)
            for k in range(5):
                rate, gain, source = _A_RATE, gains[p, 0, c], pyramidal
                if k == 1:
                    source = excitatory
                elif k == 2:
                    rate, gain, source = _B_RATE, gains[p, 1, c], _C4 * slow
                elif k == 3:
                    rate, gain, source = _G_RATE, gains[p, 2, c], fast
                elif k == 4:
                    rate, gain, source = _B_RATE, gains[p, 1, c], slow
                pull = gain * rate * source - 2 * rate * dy[k, c] - rate * rate * y[k, c]
                dy[k, c] += dt * pull
            for k in range(5):
                y[k, c] += dt * dy[k, c]
            lfp[t, c] = y[1, c] - y[2, c] - y[3, c]
        for c in range(columns):
            fired[slot, c] = _sigmoid(lfp[t, c], table)


def simulate(
    gains: Float32, hold: int, drive: Float32, rate: float, coupling: float, delay: float
) -> Float32:
    """Integrate a chain of columns and return their local field potentials [T, C] in mV.

    Each synapse is a critically damped second-order filter (gain W, rate w, input u)

        (1)  y'' = W w u - 2 w y' - w^2 y

    and a column has five: y0 pyramidal output, y1 excitation, y2 slow and y3 fast inhibition of
    the pyramids, y4 slow inhibition of the fast interneurons, with
    u0 = S(y1-y2-y3), u1 = p + C2 S(C1 y0), u2 = C4 S(C3 y0), u3 = C7 S(C5 y0 - C6 y4),
    u4 = S(C3 y0), S(v) = 2 e0 / (1 + exp(r (v0 - v))); the potential is y1 - y2 - y3.

    (1) and its constants: Wendling, Bartolomei, Bellanger, Chauvel, Eur. J. Neurosci. 15:1499,
    2002. The columns of a chain hear their two neighbours: p gains `coupling` times the
    neighbours' firing rates, `delay` seconds old. Semi-implicit Euler with step 1/rate.

    `gains` [P, 3, C] holds A, B, G of the column, each for `hold` steps; `drive` [T, C] is p in
    pulses per second, noise included. P * hold must reach T. Below 900 Hz the fast synapses are
    unstable: ValueError.
    """
    if rate < 900:
        raise ValueError(f"integration at {rate:g} Hz is unstable, 900 Hz are the least")
    steps, columns = drive.shape
    if gains.shape[1:] != (3, columns) or len(gains) * hold < steps:
        raise ValueError(
            f"gains {gains.shape} for {hold} steps each do not cover drive {drive.shape}"
        )
    lfp = np.empty((steps, columns), np.float32)
    _integrate(gains, hold, drive, coupling, max(1, round(delay * rate)), 1 / rate, _SIGMOID, lfp)
    return lfp
