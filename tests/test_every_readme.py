"""Every README: what its commands choose is there."""

import re
from pathlib import Path

import pytest

from snnexp.config.compose import options

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(p for d in ("configs", "snnexp", "tasks") for p in (ROOT / d).rglob("*.md")),
    ]
)
GROUPS = (
    "task model experiment loss optimizer scheduler rule trainer logger callbacks sweep corrupt"
)
CHOICE = re.compile(
    rf"(?<![\w.@-])({'|'.join(GROUPS.split())})=([a-z]\w*(?:,[a-z]\w*)*)(?![\w*<.])"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_its_commands_choose_exists(page):
    chosen = [(g, n) for g, names in CHOICE.findall(page.read_text()) for n in names.split(",")]
    assert [f"{g}={n}" for g, n in chosen if n not in options(g)] == []


def test_there_is_something_to_look_at():
    assert len(PAGES) > 15
    assert ("model", "plif_net") in CHOICE.findall("`python -m snnexp task=mnist model=plif_net`")
