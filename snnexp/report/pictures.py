"""The figures of runs for a page: found below outputs/runs or outputs/figures, made small."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from snnexp.report.atomic import replacing
from snnexp.report.collect import RUNS, Row
from snnexp.report.record import RecordError, read_result

FIGURES = Path("outputs", "figures")
#: width of a picture on a page, in pixels: twice the column of a phone held upright
WIDTH = 1000

#: what the figures that every run has show, in the order in which a page shows them
TITLES = {
    "curves": "Loss and accuracy by epoch",
    "confusion": "Confusion matrix of the test set",
    "depth": "Depth maps: input, target, prediction",
    "rates": "Firing rates of the layers by epoch",
    "raster": "Input and spikes of one test item",
}


@dataclass(frozen=True)
class Picture:
    """A picture ready for a page: a data URI, or what is wrong with its file."""

    title: str
    alt: str
    uri: str = ""
    width: int = 0
    height: int = 0
    problem: str = ""


def find(run: str, roots: Iterable[Path] = (RUNS,), figures: Path = FIGURES) -> list[Path]:
    """Return a run's pictures: of its folder, or else those kept in `figures`; none if neither."""
    for root, below in (*((root, "figures") for root in roots), (figures, "")):
        folder = root / run / below
        # the run's name comes from a file that may be anybody's
        if not folder.resolve().is_relative_to(root.resolve()):
            continue
        if found := sorted((p for p in folder.glob("*.png") if p.is_file()), key=_order):
            return found
    return []


def _order(file: Path) -> tuple[int, str]:
    names = list(TITLES)
    return names.index(_kind(file)) if _kind(file) in names else len(names), file.name


def _kind(file: Path) -> str:
    """`test_depth` -> `depth`: a task's own figures carry the name of the split."""
    return file.stem.removeprefix("test_").removesuffix("_test")


def picture(file: Path, of: str) -> Picture:
    """Make a picture for a page, in WebP; `of` says whose it is, for those who cannot see it."""
    title = TITLES.get(_kind(file), _kind(file).replace("_", " ").capitalize())
    alt = f"{title}: {of}"
    try:
        with Image.open(file) as image:
            small = _small(image)
            stream = io.BytesIO()
            small.save(stream, "WEBP", quality=75, method=6)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return Picture(title, alt, problem=f"{file.name} cannot be read ({type(error).__name__})")
    coded = base64.b64encode(stream.getvalue()).decode()
    return Picture(title, alt, f"data:image/webp;base64,{coded}", small.width, small.height)


def _small(image: Image.Image) -> Image.Image:
    plain = image.convert("RGB")
    if plain.width <= WIDTH:
        return plain
    height = round(plain.height * WIDTH / plain.width)
    return plain.resize((WIDTH, height), Image.Resampling.LANCZOS)


README = "README.md"
#: what `make bench-figure` draws
SCALING = "scaling.svg"


def keep(
    run_folders: Iterable[Path],
    rows: Iterable[Row],
    figures: Path = FIGURES,
    only: Collection[str] = (),
) -> list[Path]:
    """Keep the pictures of collected runs in `figures`, small enough for the repository.

    `only` names those to keep (`curves`, ...); without it all are kept. The README there then says
    how each was made. Raises RecordError for a run that is not complete, is not in results.csv or
    lacks the pictures.
    """
    collected = {row.run: row for row in rows}
    kept = []
    for folder in run_folders:
        result = read_result(folder)
        if result.status != "complete":
            raise RecordError(f"{folder}: {result.status}; figures are kept of complete runs only")
        if result.id not in collected:
            raise RecordError(f"{folder}: not in results.csv; collect it first")
        there = sorted((folder / "figures").glob("*.png"))
        files = [file for file in there if not only or file.stem in only]
        if not files:
            raise RecordError(
                f"{folder}: no {' or '.join(only) or 'picture'} among its figures/*.png "
                f"({', '.join(file.stem for file in there) or 'there are none'})"
            )
        for file in files:
            target = figures / result.id / file.name
            with Image.open(file) as image, replacing(target) as temporary:
                small = _small(image).quantize(
                    64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
                )
                small.save(temporary, "PNG", optimize=True)
            kept.append(target)
    _write_readme(figures, collected)
    return kept


def _write_readme(figures: Path, collected: dict[str, Row]) -> None:
    lines = [
        "# Figures of record",
        "",
        "Kept by `python -m snnexp.report figures <run folder>`; the report shows them where a",
        "run's own folder is not there. Each run below stands in outputs/results.csv.",
    ]
    if (figures / SCALING).is_file():
        lines += ["", f"Of benchmarks: [scaling]({SCALING}), by `make bench-figure`."]
    runs = sorted({p.parent.relative_to(figures).as_posix() for p in figures.rglob("*.png")})
    for run in runs:
        row = collected.get(run)
        lines += ["", f"## {run}", ""]
        if row is None:
            lines += ["No longer in outputs/results.csv."]
            continue
        dirty = " with uncommitted changes" if row.dirty else ""
        lines += [f"`{row.command}`, {row.data} data, commit {row.commit[:10]}{dirty}:", ""]
        lines += [
            f"- [{p.stem}]({p.relative_to(figures).as_posix()})" for p in find(run, (), figures)
        ]
    with replacing(figures / README) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
