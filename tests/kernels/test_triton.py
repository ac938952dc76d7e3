"""The Triton provider without a GPU: run in the interpreter, compiled for each architecture."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from snnexp.kernels.lif import triton as provider  # noqa: E402
from snnexp.kernels.lif.settings import Scan  # noqa: E402

ROOT = Path(__file__).parents[2]
ARCHITECTURES = (80, 90, 100, 120)
POINTERS = {torch.float32: "*fp32", torch.float64: "*fp64", torch.bfloat16: "*bf16"}


@pytest.mark.slow
def test_the_kernels_in_the_interpreter():
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
            "tests/kernels/triton_interpreted.py",
        ],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


class Launch:
    """Stands where a kernel stands, and keeps what it would have been launched with."""

    def __init__(self, kernel):
        self.kernel = kernel

    def __getitem__(self, grid):
        def launch(*args, **kwargs):
            self.given = dict(zip(self.kernel.arg_names, args, strict=False)) | kwargs

        return launch

    def compile(self, arch):
        """Compile the kernel for what it was given, as Triton does at a launch."""
        options = {k: v for k, v in self.given.items() if k not in self.kernel.arg_names}
        types, constants, attributes = {}, {}, {}
        for param in self.kernel.params:
            value = self.given[param.name]
            if param.is_constexpr or value is None:
                types[param.name], constants[param.name] = "constexpr", value
            elif isinstance(value, torch.Tensor):
                types[param.name] = POINTERS[value.dtype]
                attributes[param.num,] = [["tt.divisibility", 16]]
            else:
                types[param.name] = param.annotation_type or "i32"
        source = ASTSource(self.kernel, types, constants, attributes)
        return Compiled(triton.compile(source, GPUTarget("cuda", arch, 32), options))


class Compiled:
    """PTX and machine code of a kernel."""

    def __init__(self, kernel):
        self.ptx, self.cubin = kernel.asm["ptx"], kernel.asm["cubin"]

    def bytes(self, text=None):
        """Return the bytes that a thread reads and writes in the global memory."""
        found = re.findall(r"(?:ld|st)\.global(?:\.v(\d))?\.b(\d+)", text or self.ptx)
        return sum(int(lanes or 1) * int(bits) // 8 for lanes, bits in found)

    def loops(self):
        """Return the text of each loop."""
        bodies = {}
        for branch in re.finditer(r"bra(?:\.uni)?\s+(\$L\w+);", self.ptx):
            label = self.ptx.find(f"\n{branch[1]}:")
            if 0 <= label < branch.start():
                bodies[label] = self.ptx[label : branch.start()]
        return [bodies[label] for label in sorted(bodies)]

    def stack(self, folder):
        """Return the bytes of local memory a thread needs: spilled registers."""
        file = folder / "kernel.cubin"
        file.write_bytes(self.cubin)
        tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        told = subprocess.run(
            [tool, "-res-usage", file], capture_output=True, text=True, check=True
        ).stdout
        found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", told)
        return int(found[2]) + int(found[3])


def launches(
    monkeypatch, steps, dtype=torch.float32, learned=False, neurons=4096, static=False, **options
):
    """Return the launches of a scan and its adjoint; `static` of one step that is shown often."""
    forward, backward = Launch(provider.forward_kernel), Launch(provider.backward_kernel)
    monkeypatch.setattr(provider, "forward_kernel", forward)
    monkeypatch.setattr(provider, "backward_kernel", backward)
    x, grad_spikes = (torch.empty(t, neurons, dtype=dtype) for t in (1 if static else steps, steps))
    params = [torch.ones(())] * 3
    scan = Scan(0.0, "hard", True, "atan", (2.0,), 0, 1, steps if static else None)
    scan = scan._replace(**options)
    provider.forward(x, None, *params, scan)
    provider.backward(grad_spikes, None, x, None, *params, scan, "all" if learned else "none")
    monkeypatch.undo()
    return forward, backward


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_kernels_compile_for_each_architecture(arch, static, monkeypatch, tmp_path):
    options = {"surrogate": "erf", "detach_reset": False, "static": static}
    forward, backward = launches(monkeypatch, 4, learned=True, **options)
    for compiled in (forward.compile(arch), backward.compile(arch)):
        assert compiled.stack(tmp_path) == 0
        assert "fma.rn.f32" not in compiled.ptx
        assert "ld.global.v4.b32" in compiled.ptx
        assert "st.global.v4.b32" in compiled.ptx
        assert ".local" not in compiled.ptx


def test_a_forward_and_a_backward_move_20_bytes_a_neuron_and_step(monkeypatch, tmp_path):
    steps, neurons_a_thread = 16, 4
    forward, backward = (launch.compile(90) for launch in launches(monkeypatch, steps))
    ahead, _ = forward.loops()
    assert ahead.count("ld.global.v4.b32") == ahead.count("st.global.v4.b32") == 4
    assert forward.bytes(ahead) == 8 * neurons_a_thread * 4
    assert not backward.loops()
    of_parameters = 3 * 4
    assert backward.bytes() == 12 * neurons_a_thread * steps + of_parameters
    assert backward.ptx.count("ld.global.v4.b32") == 2 * steps
    assert backward.ptx.count("st.global.v4.b32") == steps
    assert forward.stack(tmp_path) == backward.stack(tmp_path) == 0


def test_a_static_input_is_read_once_and_its_gradient_written_once(monkeypatch, tmp_path):
    steps, neurons_a_thread = 16, 4
    launched = launches(monkeypatch, steps, static=True)
    forward, backward = (launch.compile(90) for launch in launched)
    ahead, rest = forward.loops()
    assert "ld.global" not in ahead + rest
    assert forward.bytes(ahead) == 4 * neurons_a_thread * 4
    of_parameters = 3 * 4
    x, v, count = 4, 4, 4
    around = neurons_a_thread * (x + v + count) + of_parameters
    assert forward.bytes() == forward.bytes(ahead + rest) + around
    assert not backward.loops()
    x, grad_x = 4, 4
    assert backward.bytes() == neurons_a_thread * (4 * steps + x + grad_x) + of_parameters
    assert backward.ptx.count("ld.global.v4.b32") == steps + 1
    assert backward.ptx.count("st.global.v4.b32") == 1
    assert forward.stack(tmp_path) == backward.stack(tmp_path) == 0


@pytest.mark.parametrize("learned", [False, True])
def test_long_sequences_of_a_static_input_keep_membranes_only(learned, monkeypatch, tmp_path):
    _, launch = launches(monkeypatch, 100, learned=learned, static=True)
    compiled = launch.compile(90)
    neurons_a_thread, steps = launch.given["BLOCK"] // provider.THREADS, launch.given["STEPS"]
    keep, scan = compiled.loops()
    assert compiled.bytes(keep) == neurons_a_thread * 4
    assert compiled.bytes(scan) == neurons_a_thread * (4 * steps + 4)
    assert compiled.stack(tmp_path) == 0


def test_long_sequences_spill_nothing_and_read_x_once_more(monkeypatch, tmp_path):
    _, launch = launches(monkeypatch, 100, learned=True)
    compiled = launch.compile(90)
    neurons_a_thread, steps = launch.given["BLOCK"] // provider.THREADS, launch.given["STEPS"]
    keep, scan = compiled.loops()
    assert compiled.bytes(keep) == neurons_a_thread * (4 * steps + 4)
    assert compiled.bytes(scan) == neurons_a_thread * (12 * steps + 4)
    assert compiled.stack(tmp_path) == 0
    assert "bar.sync" not in keep + scan
    # the last of all pieces is not read twice: 24.3 bytes with the 8 of the forward
    pieces = -(-100 // steps)
    assert 8 + 12 + (pieces - 1) * (4 * steps + 8) / 100 < 24.4


@pytest.mark.parametrize("steps", [8, 16, 32])
def test_learned_parameters_with_16_bits_spill_nothing(steps, monkeypatch, tmp_path):
    options = {"learned": True, "reset": "soft", "detach_reset": False}
    _, launch = launches(monkeypatch, steps, torch.bfloat16, **options)
    assert launch.compile(90).stack(tmp_path) == 0


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types_spill_nothing(dtype, static, monkeypatch, tmp_path):
    for launch in launches(monkeypatch, 16, dtype, static=static):
        assert launch.compile(90).stack(tmp_path) == 0
