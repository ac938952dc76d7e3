"""Simulated patients: what an intracranial electrode sees before, during and after a seizure.

Letters: T samples, P parameter steps, C contacts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from tasks.seizure.neural_mass import MEAN_DRIVE, simulate

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: (A, B, G) in mV of the activity types of the model, found by scanning it with this noise
STATES: dict[str, tuple[float, float, float]] = {
    "background": (3.3, 45.0, 20.0),
    "alpha": (4.0, 15.0, 20.0),  # about 10 Hz
    "slow": (3.3, 22.0, 20.0),  # 1-3 Hz, high
    "discharges": (4.6, 42.0, 20.0),  # single spikes and short runs of them
    "fast": (5.5, 3.0, 50.0),  # 30-40 Hz, low: the low-voltage fast onset
    "rhythmic": (4.6, 15.0, 15.0),  # 10 Hz, high
    "spikes": (5.0, 26.0, 15.0),  # 5 Hz spike trains
    "burst": (6.2, 46.0, 10.0),  # 4-6 Hz, the highest: spike and wave
}
ONSETS = ("fast", "rhythmic", "spikes")

#: how often an interictal stretch is in which state; a `run` is a second of seizure-like discharges
SHARES = {"quiet": 0.4, "alpha": 0.2, "slow": 0.15, "discharges": 0.15, "run": 0.1}

_NOISE = 300.0  # pulses per second and step, standard deviation at 1 kHz
_FINE = 1000.0  # Hz, least rate of the integration
_PARAMETER_RATE = 50.0  # Hz: how often A, B, G move
_MICROVOLT = 16.0  # per mV of the model


@dataclass(frozen=True)
class Patient:
    """What stays the same in all recordings of one simulated patient.

    `focus` is a contact, `speed` in contacts per second, `extent` the share of contacts a seizure
    reaches, `contact_gain` the gain of each contact, `mains` the hum in microvolts.
    """

    contacts: int
    focus: int
    speed: float
    extent: float
    onset: str
    excitability: float
    contact_gain: Float64
    posterior: int
    mains: float


@dataclass(frozen=True)
class Seizure:
    """One seizure: onset and end in seconds of the recording."""

    start: float
    end: float


def draw_patient(rng: np.random.Generator, contacts: int) -> Patient:
    """Draw one patient."""
    return Patient(
        contacts=contacts,
        focus=int(rng.integers(1, contacts - 1)),
        speed=float(rng.uniform(0.25, 0.8)),
        extent=float(rng.uniform(0.3, 0.7)),
        onset=str(rng.choice(ONSETS)),
        excitability=float(rng.normal(1.0, 0.03)),
        contact_gain=np.exp(rng.normal(0.0, 0.35, contacts)),
        posterior=int(rng.integers(0, contacts)),
        mains=float(rng.uniform(1.0, 4.0)),
    )


def record(
    rng: np.random.Generator,
    patient: Patient,
    duration: float,
    seizures: Sequence[Seizure],
    rate: float,
    shares: Mapping[str, float] = SHARES,
    run_seconds: tuple[float, float] = (0.4, 1.5),
) -> Float32:
    """Simulate one recording [C, T] in microvolts at `rate`, integrated at 1 kHz or somewhat more.

    The columns of `neural_mass` under drifting states (quiet, alpha, slow waves, interictal
    discharges); in a seizure the focus turns first, its neighbours as the wave of recruitment
    passes them, each through onset, spike trains and spike-wave bursts, with exhaustion after the
    end.
    Volume conduction, 1/f noise, hum, a gain that differs between recordings, and artefacts
    (muscle, movement, electrode pops, lost contacts, in seizures too) lie on top.
    """
    oversample = math.ceil(_FINE / rate)
    fine = rate * oversample
    steps, hold = round(duration * fine), round(fine / _PARAMETER_RATE)
    path = _states(rng, patient, -(-steps // hold), shares, run_seconds)
    drive_scale = np.ones((len(path), patient.contacts))
    for seizure in seizures:
        _recruit(rng, patient, seizure, path, drive_scale)
    gains = signal.lfilter([0.08], [1, -0.92], path - path[:1], axis=0) + path[:1]
    noise = rng.standard_normal((steps, patient.contacts), dtype=np.float32)
    noise *= np.float32(_NOISE * np.sqrt(fine / 1000.0))
    noise *= np.repeat(drive_scale, hold, axis=0)[:steps].astype(np.float32)
    lfp = simulate(
        gains.astype(np.float32),
        hold,
        noise + np.float32(MEAN_DRIVE),
        fine,
        coupling=8.0,
        delay=0.01,
    )
    lfp -= np.float32(lfp.mean())
    eeg = signal.resample_poly(lfp, 1, oversample, axis=0).astype(np.float64)[
        : round(duration * rate)
    ]
    return _electrode(rng, patient, eeg, rate).T.astype(np.float32)


def _gains(state: str) -> Float64:
    """Return A, B, G of a state as [3, 1], to be spread over contacts."""
    return np.array(STATES[state])[:, None]


def _states(
    rng: np.random.Generator,
    patient: Patient,
    steps: int,
    shares: Mapping[str, float],
    run_seconds: tuple[float, float],
) -> Float64:
    """Return A, B, G [P, 3, C] of a recording without seizures."""
    contact = np.arange(patient.contacts)
    path = np.tile(_gains("background"), (steps, 1, patient.contacts))
    path[:, 0] *= patient.excitability
    position = 0
    while position < steps:
        length = int(rng.uniform(4.0, 20.0) * _PARAMETER_RATE)
        here = slice(position, position + length)
        state = rng.choice(list(shares), p=list(shares.values()))
        near = np.abs(contact - patient.focus) <= 1
        if state == "alpha":
            near = np.abs(contact - patient.posterior) <= rng.integers(1, 4)
            path[here, :, near] = _gains("alpha")
        elif state == "slow":
            near = rng.random(patient.contacts) < 0.6
            path[here, :, near] = _gains("slow")
        elif state == "discharges":
            path[here, :, near] = _gains("discharges")
        elif state == "run":
            # A run of interictal discharges: what a seizure looks like, for a moment.
            start = position + int(rng.integers(0, max(1, length - 50)))
            run = slice(start, start + int(rng.uniform(*run_seconds) * _PARAMETER_RATE))
            path[run, :, near] = _gains(str(rng.choice(["spikes", "rhythmic"])))
        position += length
    return path


def _recruit(
    rng: np.random.Generator,
    patient: Patient,
    seizure: Seizure,
    path: Float64,
    drive_scale: Float64,
) -> None:
    """Write one seizure into the parameter path, in place."""
    focus = int(np.clip(patient.focus + rng.integers(-1, 2), 0, patient.contacts - 1))
    speed = patient.speed * np.exp(rng.normal(0, 0.3))
    reach = max(1.0, patient.extent * patient.contacts * rng.uniform(0.6, 1.2))
    strength = rng.uniform(0.93, 1.04)
    onset_share = rng.uniform(0.15, 0.35)
    last = round(seizure.end * _PARAMETER_RATE)
    for contact in range(patient.contacts):
        distance = abs(contact - focus)
        if distance > reach:
            continue
        lag = distance / speed * rng.uniform(0.8, 1.2)
        first = round((seizure.start + lag) * _PARAMETER_RATE)
        length = last - first
        if length < _PARAMETER_RATE:
            continue
        marks = [0.0, onset_share, rng.uniform(0.7, 0.85), 1.0]
        stages = [patient.onset, "spikes", "burst"]
        for stage, begin, end in zip(stages, marks[:-1], marks[1:], strict=True):
            a, b, g = STATES[stage]
            path[first + int(begin * length) : first + int(end * length), :, contact] = (
                a * strength,
                b * rng.uniform(0.92, 1.08),
                g,
            )
        exhausted = slice(last, last + int(rng.uniform(3.0, 9.0) * _PARAMETER_RATE))
        drive_scale[exhausted, contact] = 0.45
        path[exhausted, :, contact] = STATES["background"]


def _electrode(rng: np.random.Generator, patient: Patient, lfp: Float64, rate: float) -> Float64:
    """Turn potentials [T, C] in mV into microvolts at the amplifier."""
    samples, contacts = lfp.shape
    eeg = 0.7 * lfp
    eeg[:, 1:] += 0.2 * lfp[:, :-1]
    eeg[:, :-1] += 0.2 * lfp[:, 1:]
    eeg *= _MICROVOLT * patient.contact_gain * np.exp(rng.normal(0.0, 0.35))
    white = rng.standard_normal((samples, contacts + 1))
    # 1/f noise, one part common to all contacts (the reference).
    pink = signal.lfilter(
        [0.05, -0.0958, 0.0506, -0.0044], [1, -2.4949, 2.0172, -0.5222], white, axis=0
    )
    pink /= pink.std() + 1e-12
    level = 18.0 * np.exp(rng.normal(0.0, 0.4))
    eeg += level * (pink[:, :contacts] + 0.5 * pink[:, contacts:]) + 1.5 * white[:, :contacts]
    time = np.arange(samples) / rate
    hum = np.sin(2 * np.pi * 60.0 * time + rng.uniform(0, 2 * np.pi))
    eeg += patient.mains * hum[:, None] * rng.uniform(0.2, 1.0, contacts)
    _artefacts(rng, eeg, rate)
    high_pass = signal.butter(1, 0.5, "highpass", fs=rate, output="sos")
    return np.clip(signal.sosfilt(high_pass, eeg, axis=0), -3000.0, 3000.0)


def _artefacts(rng: np.random.Generator, eeg: Float64, rate: float) -> None:
    """Add muscle, movement, pops and lost contacts, in place: about four a minute."""
    samples, contacts = eeg.shape
    muscle = signal.butter(2, [20.0, min(120.0, 0.45 * rate)], "bandpass", fs=rate, output="sos")
    for _ in range(rng.poisson(samples / rate / 15.0)):
        length = int(rng.uniform(0.5, 5.0) * rate)
        start = int(rng.integers(0, max(1, samples - length)))
        here = eeg[start : start + length]
        shape = np.hanning(len(here))[:, None]
        touched = rng.random(contacts) < rng.uniform(0.1, 0.8)
        size = rng.uniform(30.0, 160.0)
        match rng.choice(["muscle", "movement", "pop", "lost"], p=[0.35, 0.35, 0.2, 0.1]):
            case "muscle":
                burst = signal.sosfilt(muscle, rng.standard_normal(here.shape), axis=0)
                here += shape * touched * size * burst
            case "movement":
                swing = 2 * np.pi * rng.uniform(0.5, 5.0) * np.arange(len(here)) / rate
                wobble = swing + 1.5 * np.cumsum(rng.standard_normal(len(here))) / np.sqrt(rate)
                here += shape * touched * size * np.sin(wobble)[:, None]
            case "pop":
                decay = np.exp(-np.arange(len(here)) / (0.15 * rate))[:, None]
                here += decay * (np.arange(contacts) == rng.integers(contacts)) * size * 4
            case "lost":
                here *= np.where(np.arange(contacts) == rng.integers(contacts), 0.02, 1.0)
