import subprocess
from pathlib import Path

import pytest
import torch

from snnexp.report import environment as module
from snnexp.report.environment import code_state, environment, peak_memory


def git(folder, *args):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository that holds a copy of the module, which believes to be there."""
    folder = tmp_path / "repository"
    package = folder / "snnexp"
    package.mkdir(parents=True)
    copy = package / "environment.py"
    copy.write_text(Path(module.__file__).read_text())
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    monkeypatch.setattr(module, "__file__", str(copy))
    return folder


def test_commit_and_dirty_flag(repository):
    clean = code_state()
    assert clean.commit is not None
    assert len(clean.commit) == 40
    assert clean.dirty is False
    # what runs and reports write is no change of the code
    (repository / "outputs").mkdir()
    (repository / "outputs" / "results.csv").write_text("x")
    (repository / "README.md").write_text("table")
    assert code_state() == clean
    (repository / "new_model.py").write_text("x")
    assert code_state().dirty is True
    (repository / "new_model.py").unlink()
    (repository / "snnexp" / "environment.py").write_text("changed")
    assert code_state().dirty is True


def test_the_same_uncommitted_changes_are_the_same_code(repository):
    file = repository / "snnexp" / "environment.py"
    file.write_text("one change")
    one = code_state()
    assert code_state() == one
    file.write_text("another change")
    other = code_state()
    assert (other.commit, other.dirty) == (one.commit, True)
    assert other.changes != one.changes
    # a new file of code counts, a file that a run may have left does not
    (repository / "left_by_a_run.csv").write_text("x")
    assert code_state() == other
    (repository / "snnexp" / "new.py").write_text("x")
    assert code_state() != other


def test_a_foreign_repository_around_the_code_says_nothing(repository):
    git(repository, "rm", "-q", "--cached", "snnexp/environment.py")
    assert code_state().commit is None
    assert code_state().dirty is None


def test_no_repository(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "__file__", str(tmp_path / "environment.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert code_state().commit is None


def test_environment_and_memory():
    cpu = torch.device("cpu")
    env = environment(cpu, backend="reference", precision="32-true", world_size=1)
    assert env.versions["torch"] == torch.__version__
    assert env.threads == torch.get_num_threads()
    assert env.cpu
    assert env.gpu is None
    host, gpu = peak_memory(cpu)
    assert 50 * 2**20 < host < 2**40
    assert gpu is None
