import pytest

from scripts.prepare_data import main
from tasks.mnist import sample


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_help_is_asked_for_as_everywhere(words, capsys):
    assert main(words) == 0
    assert "task=nmnist data=real data_dir=/data" in capsys.readouterr().out


def test_what_is_there_is_counted(tmp_path, capsys):
    folder = tmp_path / "some, (odd) place"
    folder.mkdir()
    sample.make_sample(folder)
    words = ["task=mnist", "data=real", f"data_dir={folder}", f"cache_dir={tmp_path / 'cache'}"]
    assert main(words) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["train", "1227"] in lines
    assert ["test", "360"] in lines
    assert any("excerpt:" in words for words in lines)


def test_mistakes_and_missing_data_are_said(tmp_path, capsys):
    assert main(["task=mnist", "taks.batch_size=3"]) == 2
    assert "task.batch_size" in capsys.readouterr().out
    words = ["task=imagenet", "data=real", f"data_dir={tmp_path}", "task.num_workers=0"]
    assert main(words) == 2
    assert "image-net.org" in capsys.readouterr().out
