"""All compiled code of the S4NN kernel: first one layer and one image, then whole passes.

It is one file on purpose: Numba's cache looks at the file of the function it compiled, and would
keep a stale copy of a function called from another one.

A train of input spikes is a pair (pixel, time), sorted by time and then by index. No fastmath: sums
keep the order of `reference`, so that both agree to the last bit. Numbers in brackets are the
equations there.

Letters: N images, B images of one step, I inputs of a layer, J its units, U units of all layers
together, K classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

#: units of a layer walked together; 64 floats are four cache lines
BLOCK = 64

#: a layer's factor is multiplied into its weights before it gets smaller than this
SMALLEST_SCALE = 2.0**-20
#: trains walked by one parallel task in inference
CHUNK = 64

jit = njit(nogil=True, cache=True, error_model="numpy")


@jit
def fire(pixel, time, w_IJ, threshold, t_max, t_J, v_J):
    """Write spike times (2) to t_J; v_J is scratch.

    A block of units is left as soon as all of them have fired. Input at t_max - 1 or later cannot
    make a unit fire in time.
    """
    for lo in range(0, w_IJ.shape[1], BLOCK):
        hi = min(lo + BLOCK, w_IJ.shape[1])
        v, t_out = v_J[lo:hi], t_J[lo:hi]
        v[:] = 0
        t_out[:] = t_max
        p = 0
        while p < len(time) and time[p] < t_max - 1:
            t = time[p]
            while p < len(time) and time[p] == t:
                w = w_IJ[pixel[p], lo:hi]
                for j in range(hi - lo):
                    v[j] += w[j]
                p += 1
            silent = 0
            for j in range(hi - lo):
                # a select, not a branch: it vectorises
                new = np.int32(t + 1) if (v[j] > threshold and t_out[j] == t_max) else t_out[j]
                t_out[j] = new
                silent += new == t_max
            if silent == 0:
                break


@jit
def sort(t_J, t_max, count, pixel, time):
    """Write the units that fired in time to (pixel, time), by time then index; return how many."""
    count[:] = 0
    for j in range(len(t_J)):
        count[t_J[j]] += 1
    total = 0
    for t in range(t_max):
        own = count[t]
        count[t] = total
        total += own
    for j in range(len(t_J)):
        t = t_J[j]
        if t < t_max:
            pixel[count[t]] = j
            time[count[t]] = t
            count[t] += 1
    return total


@jit
def potential(pixel, time, w_IK, until, v_K):
    """Write V(until) of (1) to v_K."""
    v_K[:] = 0
    for p in range(len(time)):
        if time[p] > until:
            break
        w = w_IK[pixel[p]]
        for k in range(len(v_K)):
            v_K[k] += w[k]


@jit
def decide(pixel, time, t_K, w_IK, t_max, fallback, v_K):
    """Write the potentials that break ties to v_K."""
    first = t_K.min()
    potential(pixel, time, w_IK, fallback if first == t_max else first - 1, v_K)


@jit
def output_error(t_K, label, gamma, t_max, e_K):
    """Write e_k = (T_k - t_k) / t_max, T of (3)-(4), to e_K; return 1/2 sum of squares."""
    first = t_K.min()
    loss = 0.0
    for k in range(len(t_K)):
        wished = t_K[k]
        if first < t_max and wished - first < gamma:
            wished = min(first + gamma, t_max)
        if k == label:
            wished = first if first < t_max else t_max - gamma
        e_K[k] = (wished - t_K[k]) / t_max
        loss += 0.5 * np.float64(e_K[k]) * np.float64(e_K[k])
    return loss


@jit
def normalise(e_J):
    """Divide by the L2 norm; zero stays zero."""
    square = 0.0
    for j in range(len(e_J)):
        square += np.float64(e_J[j]) * np.float64(e_J[j])
    if square > 0:
        norm = np.sqrt(square)
        for j in range(len(e_J)):
            e_J[j] = e_J[j] / norm


@jit
def step(pixel, time, t_J, e_J, lr, w_IJ, d_J, lo, hi):
    """Apply (6) to units lo:hi; d_J is scratch for lr e_j of the units still to fire.

    The walk ends once no unit of the block has both an error and a later spike.
    """
    last = 0
    for j in range(lo, hi):
        if e_J[j] != 0:
            last = max(last, t_J[j])
    e, t_out, d = e_J[lo:hi], t_J[lo:hi], d_J[lo:hi]
    zero = e_J.dtype.type(0)
    p = 0
    while p < len(time) and time[p] < last:
        t = time[p]
        for j in range(hi - lo):
            d[j] = lr * e[j] if t_out[j] > t else zero
        while p < len(time) and time[p] == t:
            w = w_IJ[pixel[p], lo:hi]
            for j in range(hi - lo):
                w[j] -= d[j]
            p += 1


@jit
def error_below(t_I, t_J, e_J, w_IJ, e_I):
    """Write (8), before its normalisation, to e_I."""
    for i in range(len(t_I)):
        total = e_I.dtype.type(0)
        for j in range(len(t_J)):
            if t_I[i] < t_J[j]:
                total += e_J[j] * w_IJ[i, j]
        e_I[i] = total


class Net(NamedTuple):
    """Weights and constants. Layer l owns the entries offset[l]:offset[l + 1] of `flat`.

    It also owns the units first[l]:first[l + 1], which are counted without the input layer; `size`
    is the width of each layer, the input's first.
    """

    flat: NDArray[Any]
    scale: NDArray[np.float64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    first: NDArray[np.int64]
    threshold: NDArray[np.float64]
    lr: NDArray[np.float64]
    l2: NDArray[np.float64]
    gamma: int
    t_max: int


class Images(NamedTuple):
    """Sorted input spikes, as in `SpikeTrains`."""

    start: NDArray[np.int64]
    pixel: NDArray[np.int32]
    time: NDArray[np.int32]


class Scratch(NamedTuple):
    """Working memory: one row an image that is in the works."""

    t: NDArray[np.int32]
    v: NDArray[Any]
    e: NDArray[Any]
    pixel: NDArray[np.int32]
    time: NDArray[np.int32]
    n_spikes: NDArray[np.int64]
    tally: NDArray[np.int64]


class Seen(NamedTuple):
    """What a pass over the training images showed: see `TrainFigures`.

    `totals` [2] is the sum of losses and the number of moved images; `fired` and `time` [U] are
    sums over images; `t` and `v` [N, K] are the output's times and deciding potentials.
    """

    totals: NDArray[np.float64]
    fired: NDArray[np.int64]
    time: NDArray[np.int64]
    t: NDArray[np.int32]
    v: NDArray[Any]


@jit
def _matrix(net, layer):
    """Return the weights [I, J] of a layer as a view."""
    own = net.flat[net.offset[layer] : net.offset[layer + 1]]
    return own.reshape((net.size[layer], net.size[layer + 1]))


@jit
def _input(net, images, work, n, row, layer):
    """Return the train that layer reads of image n, whose working memory is `row`."""
    if layer == 0:
        own = slice(images.start[n], images.start[n + 1])
        return images.pixel[own], images.time[own]
    lo = net.first[layer - 1]
    own = slice(lo, lo + work.n_spikes[row, layer - 1])
    return work.pixel[row, own], work.time[row, own]


@jit
def _forward(net, images, work, n, row, t_U):
    """Write the spike times of all units for image n to t_U."""
    for layer in range(len(net.scale)):
        own = slice(net.first[layer], net.first[layer + 1])
        pixel, time = _input(net, images, work, n, row, layer)
        v_th = net.flat.dtype.type(net.threshold[layer] / net.scale[layer])
        fire(pixel, time, _matrix(net, layer), v_th, net.t_max, t_U[own], work.v[row, own])
        work.n_spikes[row, layer] = sort(
            t_U[own], net.t_max, work.tally[row], work.pixel[row, own], work.time[row, own]
        )


@jit
def _decide(net, images, work, n, row, t_K, v_K):
    """Write the output potentials of image n that break ties, in units of the weights."""
    top = len(net.scale) - 1
    pixel, time = _input(net, images, work, n, row, top)
    decide(pixel, time, t_K, _matrix(net, top), net.t_max, net.t_max - net.gamma, v_K)
    factor = v_K.dtype.type(net.scale[top])
    for k in range(len(v_K)):
        v_K[k] *= factor


@jit
def _look(net, images, work, n, row, label, t_K, v_K):
    """Run image n forward; write output times, potentials and error; return the loss."""
    _forward(net, images, work, n, row, work.t[row])
    own = slice(net.first[-2], net.first[-1])
    t_K[:] = work.t[row, own]
    _decide(net, images, work, n, row, t_K, v_K)
    return output_error(t_K, label, net.gamma, net.t_max, work.e[row, own])


@jit
def _step(net, images, work, lo, n_images, loss_B, layer, block):
    """Apply (6) for images lo:lo + n_images to one block of"""
    w_IJ = _matrix(net, layer)
    own = slice(net.first[layer], net.first[layer + 1])
    lr = w_IJ.dtype.type(net.lr[layer] / net.scale[layer])
    left, right = block * BLOCK, min((block + 1) * BLOCK, w_IJ.shape[1])
    for b in range(n_images):
        if loss_B[b] > 0:
            pixel, time = _input(net, images, work, lo + b, b, layer)
            t_J, e_J = work.t[b, own], work.e[b, own]
            # potentials are no longer needed: row 0 is scratch, each block has its own part
            step(pixel, time, t_J, e_J, lr, w_IJ, work.v[0, own], left, right)


@jit
def _error_below(net, work, row, layer):
    """Write the error of the layer below for one image."""
    below = slice(net.first[layer - 1], net.first[layer])
    own = slice(net.first[layer], net.first[layer + 1])
    error_below(
        work.t[row, below],
        work.t[row, own],
        work.e[row, own],
        _matrix(net, layer),
        work.e[row, below],
    )


@jit
def _rescale(net, always):
    """Multiply a layer's factor into its weights, where it has become small or `always`."""
    for layer in range(len(net.scale)):
        if always or net.scale[layer] < SMALLEST_SCALE:
            w = net.flat[net.offset[layer] : net.offset[layer + 1]]
            factor = net.flat.dtype.type(net.scale[layer])
            for i in range(len(w)):
                w[i] *= factor
            net.scale[layer] = 1.0


def _learn(net, images, labels, batch, work, seen):
    """Learn from all images in order, `batch` at a time; `seen` gets what they showed before."""
    loss_B = np.zeros(batch)
    for lo in range(0, len(labels), batch):
        n_images = min(batch, len(labels) - lo)
        for b in prange(n_images):
            n = lo + b
            loss_B[b] = _look(net, images, work, n, b, labels[n], seen.t[n], seen.v[n])
        for b in range(n_images):
            seen.totals[0] += loss_B[b]
            seen.totals[1] += loss_B[b] > 0
            for u in range(len(seen.fired)):
                seen.fired[u] += work.t[b, u] < net.t_max
                seen.time[u] += work.t[b, u]
        for layer in range(len(net.scale) - 1, -1, -1):
            n_blocks = (net.size[layer + 1] + BLOCK - 1) // BLOCK
            for b in prange(n_images):
                normalise(work.e[b, net.first[layer] : net.first[layer + 1]])
            for block in prange(n_blocks):
                _step(net, images, work, lo, n_images, loss_B, layer, block)
            net.scale[layer] *= (1 - net.lr[layer] * net.l2[layer]) ** n_images
            if layer > 0:
                for b in prange(n_images):
                    if loss_B[b] > 0:
                        _error_below(net, work, b, layer)
        _rescale(net, False)
    _rescale(net, True)


#: one source, two compilations: without `parallel` a prange is a range
learn_serial = jit(_learn)
learn_parallel = njit(nogil=True, cache=True, error_model="numpy", parallel=True)(_learn)


@njit(nogil=True, cache=True, error_model="numpy", parallel=True)
def infer(net, images, work, t_NU, v_NK):
    """Write spike times of all units and deciding potentials of all images."""
    n_images = len(t_NU)
    for row in prange(len(work.t)):
        for n in range(row * CHUNK, min((row + 1) * CHUNK, n_images)):
            _forward(net, images, work, n, row, t_NU[n])
            _decide(net, images, work, n, row, t_NU[n, net.first[-2] :], v_NK[n])
