"""What several folders of tests share."""

import shutil

import pytest


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of one finished run of the toy task; not to be changed."""
    from snnexp.run import run
    from tests.test_run import config, folders

    root = tmp_path_factory.mktemp("finished")
    run(config(root, "seed=3"))
    return folders(root)[0]


@pytest.fixture
def taken(finished, tmp_path):
    """A copy of that run's folder, to be spoilt."""
    return shutil.copytree(finished, tmp_path / "taken")
