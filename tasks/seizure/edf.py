"""Reader of EDF and EDF+ recordings: header check, montage, filters, resampling, annotations.

Letters: C channels, T samples.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snnexp.data.base import DataError
from tasks.seizure.summary import Interval

Float32 = NDArray[np.float32]

_ANNOTATIONS = ("EDF ANNOTATIONS", "BDF ANNOTATIONS")
_NOT_EEG = re.compile(r"^([-.\s\d]*|(ECG|EKG|EMG|EOG|VNS|STI|RESP|LOC-ROC|DC\d).*|STATUS)$")
_SEIZURE = re.compile(r"seiz|^sz\b|^ictal", re.IGNORECASE)


@dataclass(frozen=True)
class EdfHeader:
    """What the fixed part of an EDF file says; labels and rates of its signals, annotations apart.

    `labels` are in canonical form (upper case, without a leading 'EEG').
    """

    labels: tuple[str, ...]
    rates: tuple[float, ...]
    duration: float


@dataclass(frozen=True, kw_only=True)
class Montage:
    """Which channels are used and how their signals are conditioned, in this order.

    `channels`: names in the wanted order; 'A-B' is derived as A minus B where only A and B were
    recorded; None takes the EEG channels that all recordings share. `band` [low, high] in Hz,
    `notch` in Hz with its harmonics (zero-phase FIR filters of MNE: they look ahead by half their
    length), `rate` in Hz to resample to; None leaves each out.
    """

    channels: Sequence[str] | None
    band: Sequence[float] | None
    notch: float | None
    rate: float | None


def canonical(label: str) -> str:
    """Return a channel label in upper case, single-spaced, without a leading 'EEG'."""
    return re.sub(r"^EEG[ _]", "", " ".join(label.upper().split()))


def read_header(path: Path) -> EdfHeader:
    """Parse and check the header of an EDF file (Kemp et al. 1992; EDF+: Kemp, Olivan 2003).

    Raises DataError for a file that is not EDF, has fields that are no numbers, is shorter than
    its records, or is discontinuous (EDF+D).
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            fixed = file.read(256)
            if len(fixed) < 256 or fixed[:8] != b"0       ":
                raise DataError(
                    f"{path}: not an EDF file (its header does not begin with version 0)"
                )
            n_signals = int(_number(path, "number of signals", fixed[252:256]))
            header_bytes = int(_number(path, "header size", fixed[184:192]))
            if n_signals < 1 or header_bytes != 256 * (n_signals + 1):
                raise DataError(
                    f"{path}: broken EDF header: {n_signals} signals need "
                    f"{256 * (n_signals + 1)} header bytes, the file says {header_bytes}"
                )
            signal_fields = file.read(256 * n_signals)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if len(signal_fields) < 256 * n_signals:
        raise DataError(f"{path}: the file ends inside its EDF header")
    if fixed[192:197] == b"EDF+D":
        raise DataError(f"{path}: discontinuous EDF+D; export it as continuous EDF+C")
    records = int(_number(path, "number of records", fixed[236:244]))
    seconds = _number(path, "record duration", fixed[244:252])
    labels = [
        canonical(signal_fields[16 * k : 16 * (k + 1)].decode("latin-1")) for k in range(n_signals)
    ]
    per_record = [
        int(_number(path, "samples per record", signal_fields[216 * n_signals + 8 * k :][:8]))
        for k in range(n_signals)
    ]
    if min(per_record) < 1 or seconds <= 0:
        raise DataError(
            f"{path}: broken EDF header: records of {seconds} s with {per_record} samples"
        )
    present = (size - header_bytes) // (2 * sum(per_record))
    if records == -1:
        records = present
    if records < 1 or present < records:
        raise DataError(f"{path}: the header announces {records} records, the file holds {present}")
    kept = [k for k in range(n_signals) if labels[k] not in _ANNOTATIONS]
    return EdfHeader(
        tuple(labels[k] for k in kept),
        tuple(per_record[k] / seconds for k in kept),
        records * seconds,
    )


def _number(path: Path, what: str, field: bytes) -> float:
    try:
        value = float(field.decode("ascii").strip())
    except (UnicodeDecodeError, ValueError):
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"{path}: broken EDF header: {what} is {field!r}, expected a number")
    return value


def shared_channels(headers: dict[Path, EdfHeader]) -> list[str]:
    """Return the EEG channels all recordings share, in the order of the first.

    Dummy channels ('-', '.') and those named as ECG, EOG, EMG, VNS, respiration or trigger are not
    EEG. Raises DataError, naming two recordings, where nothing is shared.
    """
    paths = list(headers)
    shared = [c for c in dict.fromkeys(headers[paths[0]].labels) if not _NOT_EEG.match(c)]
    for path in paths[1:]:
        rest = [c for c in shared if c in headers[path].labels]
        if not rest:
            raise DataError(
                f"{path} has none of the channels {shared} of {paths[0]}; choose patients of one "
                "montage by task.source.patients, or derivations by task.source.montage.channels"
            )
        shared = rest
    if not shared:
        raise DataError(f"{paths[0]} has no EEG channel; its channels: {headers[paths[0]].labels}")
    return shared


def read_signals(path: Path, channels: Sequence[str], montage: Montage) -> tuple[Float32, float]:
    """Return the signals [C, T] of the named channels in microvolts, and their rate in Hz.

    MNE reads the samples. A label that occurs twice (CHB-MIT's T8-P8) is read at its first place.
    Raises DataError for a channel that cannot be had and for channels of different rates.
    """
    import mne  # here, not above: half a second that only runs on EDF files should pay

    header = read_header(path)
    terms = [_terms(path, name, header.labels) for name in channels]
    used = sorted({k for pair in terms for k in pair})
    rates = {header.rates[k] for k in used}
    if len(rates) > 1:
        raise DataError(f"{path}: channels {list(channels)} have different rates {sorted(rates)}")
    try:
        raw = mne.io.read_raw_edf(path, preload=False, stim_channel=None, verbose="error")
        volts = raw.get_data(picks=used, verbose="error")
    except Exception as error:
        raise DataError(f"{path}: MNE cannot read this EDF file ({error})") from error
    rate, row = rates.pop(), {k: i for i, k in enumerate(used)}
    data = volts
    # an hour of a recording is 170 MB: copied only where something is derived or reordered
    if terms != [(k,) for k in used]:
        data = np.stack([volts[row[a[0]]] - (volts[row[a[1]]] if len(a) > 1 else 0) for a in terms])
    data *= 1e6
    if montage.notch is not None:
        tones = np.arange(montage.notch, rate / 2 - 1, montage.notch)
        if len(tones):
            data = mne.filter.notch_filter(data, rate, tones, verbose="error")
    if montage.band is not None:
        low, high = montage.band
        data = mne.filter.filter_data(
            data, rate, low, high if high < rate / 2 else None, verbose="error"
        )
    if montage.rate is not None and montage.rate != rate:
        data = mne.filter.resample(data, up=montage.rate, down=rate, verbose="error")
        rate = montage.rate
    return data.astype(np.float32), rate


def _terms(path: Path, name: str, labels: Sequence[str]) -> tuple[int, ...]:
    """Return the position of a channel, or of the two whose difference it is."""
    wanted = canonical(name)
    if wanted in labels:
        return (labels.index(wanted),)
    plus, dash, minus = wanted.partition("-")
    if dash and plus in labels and minus in labels:
        return (labels.index(plus), labels.index(minus))
    raise DataError(
        f"{path}: task.source.montage.channels names '{name}', which is not there and cannot be "
        f"derived from {list(labels)}"
    )


def read_annotations(path: Path) -> list[Interval]:
    """Return the seizures (start, end in seconds) an EDF+ file itself annotates."""
    import mne

    read_header(path)
    try:
        raw = mne.io.read_raw_edf(path, preload=False, stim_channel=None, verbose="error")
    except Exception as error:
        raise DataError(f"{path}: MNE cannot read this EDF file ({error})") from error
    return [
        (float(onset), float(onset + duration))
        for onset, duration, text in zip(
            raw.annotations.onset,
            raw.annotations.duration,
            raw.annotations.description,
            strict=True,
        )
        if _SEIZURE.search(text)
    ]
