import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snnexp.report.catalogue import experiments
from snnexp.report.collect import rows_of
from snnexp.report.html import breakable, make_page, render, write_report
from snnexp.report.pictures import find
from tests.report.browser import CHROMIUM, tab
from tests.report.conftest import PAPER, make_result

EVIL = "<script>window.hacked = 1</script>"
EVIL_IMAGE = '"><img src="http://example.org/x.png" onerror="window.hacked = 1">'
REAL = {"variant": "real", "source": "Speech Commands v0.01", "sizes": {"test": 3081}}
EXCERPT = REAL | {"excerpt": "3,243 of 64,727 clips"}
COMMAND = ["python", "-m", "snnexp", "-m", "experiment=pellegrini2021_speech", "data=real"]


def accuracy(value, rate=0.05):
    figures = {"test/acc": value, "test/rate": rate}
    return {"select_on": "val", "monitor": "val/acc", "selected": figures, "last": figures}


def real(name="pellegrini2021_speech", seed=0, value=0.94, **changes):
    fields = {"experiment": name, "paper": PAPER, "data": REAL, "metrics": accuracy(value)}
    return make_result(**({"name": name, "seed": seed, "command": COMMAND} | fields | changes))


def page(*results, runs=(), known=()):
    rows = [row for result in results for row in rows_of(result)]
    return make_page(rows, known, runs, Path("no", "figures"))


def text(html):
    """What a reader sees, without tags."""
    body = html.split("</style>")[-1]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body.replace("<wbr>", "")))


def section(html, name):
    return html.split(f'<section id="{name}">')[1].split("</section>")[0]


def test_claimed_and_measured_stand_side_by_side_with_spread_and_verdict():
    strict = real("pellegrini2021_speech_strict", paper=PAPER | {"protocol": "strict"}, value=0.8)
    seeds = [real(seed=s, value=v) for s, v in enumerate((0.93, 0.94, 0.95))]
    html = render(page(*seeds, strict))
    shown = text(section(html, "paper-0"))
    assert "Pellegrini et al. 2021" in shown
    assert re.search(r"speech 94\.5 % 94\.0 ± 1\.0 % \(n = 3\) test/acc yes: -0\.5", shown)
    assert re.search(r"speech_strict 94\.5 % 80\.0 % \(n = 1\) test/acc no: -14\.5", shown)
    assert shown.index("authors chosen") < shown.index("strict chosen")
    assert "Known deviations firing at v &gt;= v_th" in shown
    assert "make reproduce-pellegrini2021_speech SEEDS=0,1,2" in shown
    assert "python -m snnexp -m experiment=pellegrini2021_speech data=real" in shown
    assert "1,800 nJ" in shown


def test_sample_and_excerpt_stand_apart_and_never_beside_a_claim():
    excerpt = real(data=EXCERPT, value=0.7)
    sample = real(data=None, value=0.6, config={"seed": 0, "data": "sample"})
    html = render(page(excerpt, sample))
    assert "94.5" not in html
    assert "Known deviations" not in html
    parts = section(html, "excerpts"), section(html, "samples")
    assert "3,243 of 64,727 clips" in text(parts[0])
    assert "70.0 %" in parts[0]
    assert "70.0 %" not in parts[1]
    assert "60.0 %" in parts[1]
    assert "SAMPLE=1" in parts[1]
    assert "linear 51.0 %" in text(parts[1])
    assert "70.0 %" not in html.replace(parts[0], "")
    assert "60.0 %" not in html.replace(parts[1], "")


def test_real_data_without_a_claim_show_folds_and_their_caution():
    data = REAL | {"caution": "patients unknown", "folds": 10}
    folds = [
        real("bonn", config={"seed": 0, "task": {"fold": f}}, data=data | {"fold": f}, paper=None)
        for f in (0, 1)
    ]
    html = render(page(*folds))
    shown = text(html)
    assert "Claimed" not in shown
    assert "94.0 ± 0.0 % (n = 2, folds 2 of 10)" in shown
    assert "bonn patients unknown test/acc" in shown
    assert "0, fold 1 94.0 %" in shown
    assert "make reproduce-bonn" not in shown
    assert "linear 51.0 %" in shown


def test_failed_runs_are_listed_with_their_error():
    failed = real(status="failed", error="Traceback\nRuntimeError: the loss is NaN", cost=None)
    shown = text(section(render(page(failed)), "failed"))
    assert "pellegrini2021_speech real 0 failed RuntimeError: the loss is NaN" in shown


def test_experiments_that_were_not_run_are_named_with_claim_and_data():
    known = experiments()
    html = render(page(real(), known=known))
    names = [e.name for e in known if e.name != "pellegrini2021_speech"]
    assert all(f">{breakable(name)}</td>" in html for name in names)
    assert "97.4 %" in text(html)
    assert "Google Speech Commands v0.01" in text(html)


def test_a_page_without_any_run():
    shown = text(render(page()))
    assert "No runs collected yet." in shown
    assert "0 runs" in shown


def test_figures_come_from_the_run_else_from_those_kept(tmp_path):
    runs, kept = tmp_path / "runs", tmp_path / "figures"
    result = real()
    for folder, colour in ((runs / result.id / "figures", 200), (kept / result.id, 100)):
        folder.mkdir(parents=True)
        Image.fromarray(np.full((300, 1600, 3), colour, np.uint8)).save(folder / "raster.png")
        Image.fromarray(np.full((30, 40, 3), colour, np.uint8)).save(folder / "curves.png")
    result.write(runs / result.id)
    (first, second), *_ = [c.pictures for p in page(result, runs=[runs]).papers for c in p.cards]
    assert [first.title, second.title] == [
        "Loss and accuracy by epoch", "Input and spikes of one test item",
    ]  # fmt: skip
    assert second.alt.endswith("pellegrini2021_speech, seed 0, real data")
    assert (first.width, second.width, second.height) == (40, 1000, 188)
    later = real(id="later", started="2026-02-01T00:00:00Z")
    (card,) = page(result, later, runs=[runs]).papers[0].cards
    assert card.head.run == "later"
    assert (len(card.pictures), card.shown) == (0, "seed 0"), "each seed counts by its last run"
    other = real(seed=1, started="2026-02-01T00:00:00Z")
    (card,) = page(result, other, runs=[runs]).papers[0].cards
    assert card.head.seed == 1
    assert (len(card.pictures), card.shown) == (2, "seed 0"), "the newest run that has pictures"
    assert find(result.id, [runs], kept)[0].is_relative_to(runs)
    assert find(result.id, [], kept)[0].is_relative_to(kept)
    assert find("../figures/" + result.id, [], kept) != []
    assert find("../../..", [runs], kept) == []
    html = render(page(result, runs=[runs]))
    assert html.count("data:image/webp;base64,") == 2
    assert "4.6 pJ x MACs" in html
    assert "neurons.0" in text(html)


def test_a_damaged_picture_and_a_damaged_record_are_said_and_hinder_nothing(tmp_path):
    result = real()
    folder = tmp_path / result.id
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "curves.png").write_bytes(b"\x89PNG half of a picture")
    (folder / "result.json").write_text("{")
    shown = text(render(page(result, runs=[tmp_path])))
    assert "curves.png cannot be read" in shown
    assert "not a JSON file" in shown
    assert "94.0 % (n = 1)" in shown


def hostile(folder):
    """A page of runs whose every text tries to break out, with names too long for a phone."""
    paper = PAPER | {"title": EVIL, "key": EVIL, "table": EVIL_IMAGE, "deviations": [EVIL]}
    results = [
        real(name=EVIL, paper=paper, command=[EVIL_IMAGE]),
        real(name="x" * 120, paper=paper, data=EXCERPT | {"excerpt": EVIL}),
        real(name=EVIL_IMAGE, data=None, config={"seed": 0}),
        real(name=EVIL, seed=1, status="failed", error=EVIL_IMAGE, data=None),
        real(name="plain", data=None, metrics=accuracy(0.5, 0.2)),
    ]
    rows = [row for result in results for row in rows_of(result)]
    pictures = folder / "runs" / results[4].id / "figures"
    pictures.mkdir(parents=True)
    results[4].write(pictures.parent)
    Image.fromarray(np.zeros((500, 1600, 3), np.uint8)).save(pictures / "curves.png")
    return write_report(
        rows, experiments(), folder / "report.html", [folder / "runs"], folder / "figures"
    )


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_everything_shown_is_escaped(tmp_path):
    html = hostile(tmp_path).read_text()
    assert html.startswith("<!doctype html>")
    assert "&lt;script&gt;window.hacked" in html
    tags = Tags(html).found
    assert {"script", "iframe", "object", "form"}.isdisjoint(tag for tag, _ in tags)
    attributes = [(name, value) for _, found in tags for name, value in found.items()]
    assert not [name for name, _ in attributes if name.startswith("on")]
    addresses = [value for name, value in attributes if name in ("src", "href", "action")]
    assert {re.match(r"data:|#", value)[0] for value in addresses} == {"data:", "#"}
    images = [found for tag, found in tags if tag == "img"]
    assert images
    assert all(image["alt"] for image in images)
    assert "default-src 'none'" in html


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)")
def test_it_shows_on_a_phone_in_chromium_and_asks_for_nothing(tmp_path):
    file = hostile(tmp_path)
    with tab(tmp_path / "profile") as phone:
        phone.open(file, width=390)
        phone.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        width = phone.evaluate(
            "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
        )
        shown = phone.evaluate("document.body.innerText")
        images = phone.evaluate("[...document.images].map(i => (i.loading = 'eager', i.alt))")
        ran = phone.evaluate("typeof window.hacked")
        scripts = phone.evaluate("document.scripts.length")
    assert width == 390
    assert "window.hacked = 1</script>" in shown
    assert images
    assert all(images)
    assert (ran, scripts) == ("undefined", 0)
    asked = [event["request"]["url"] for event in phone.seen("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert phone.seen("Runtime.exceptionThrown") == []
    assert phone.seen("Runtime.consoleAPICalled") == []
    assert [event["entry"]["text"] for event in phone.seen("Log.entryAdded")] == []
