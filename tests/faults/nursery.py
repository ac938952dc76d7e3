"""Children that die where a test wants it: one process imports everything, and forks for each.

`sys.addaudithook` tells of every file that is opened, renamed or removed, before it happens. A
child counts those below the outputs' folder, and kills itself at the n-th, as kill -9 would.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

#: events of CPython's audit table that change a file system, with the argument that is a path
CHANGES = {"open": 0, "os.rename": 1, "os.mkdir": 0, "os.remove": 0}


def changes(event, args, root):
    """Whether an audit event changes something below `root`."""
    if event not in CHANGES:
        return False
    path, flags = args[CHANGES[event]], args[2] if event == "open" else os.O_WRONLY
    writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if not isinstance(path, str | bytes | os.PathLike) or not writes:
        return False
    return os.fsdecode(path).startswith(str(root)) and not os.fsdecode(path).endswith(".lock")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def at(root, n, act, name=""):
    """Call `act` at the n-th change below `root` of a path with `name`; return the count so far."""
    seen = [0]

    def hook(event, args):
        if changes(event, args, root) and name in os.fsdecode(args[CHANGES[event]]):
            seen[0] += 1
            if seen[0] == n:
                act()

    sys.addaudithook(hook)
    return seen


def kill_at(root, n):
    """Kill this process at the n-th change below `root`; return the count so far."""
    return at(root, n, die)


def kill_half_way(root, n):
    """Kill this process when the n-th finished file is synced, with half of it on the disk."""
    seen, sync = [0], os.fsync

    def half(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_relative_to(root):
            seen[0] += 1
            if seen[0] == n:
                os.truncate(path, path.stat().st_size // 2)
                die()
        sync(descriptor)

    os.fsync = half
    return seen


def child(work):
    """Do `work` in a fork; return its JSON-able answer, or the signal that ended it."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, json.dumps(work()).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as answer:
        said = answer.read()
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    assert status == 0, "the child failed; its traceback is above"
    return json.loads(said)


def nursery(module, call, *args, timeout=300):
    """Call a function of a test module in a process that has never computed, so that it can fork.

    (A fork of a process that has used OpenMP or Numba threads hangs.)
    """
    code = f"import sys; from {module} import {call}; {call}(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return json.loads(done.stdout.splitlines()[-1])


def command_line(*words):
    """Run `python -m snnexp` in this process; return its status and what it said."""
    from snnexp import cli

    sys.argv = ["snnexp", *words]
    with tempfile.TemporaryFile("w+") as said:
        os.dup2(said.fileno(), 2)
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code
        said.seek(0)
        return [status, said.read()]


def quiet_run(root, *overrides):
    """A short run of the toy task, without Numba (it cannot be forked) and without pictures."""
    warnings.simplefilter("ignore")
    from snnexp.report import figures
    from snnexp.run import run
    from tests.test_run import config

    figures.draw_run = lambda folder, place: []

    more = ["trainer.max_epochs=2", "backend=reference", "callbacks.progress.style=none"]
    return run(config(Path(root), *more, *overrides))
