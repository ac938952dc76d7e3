"""`python -m snnexp.report`: collect runs, write the README's table, show and compare runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from snnexp.report.atomic import DISK
from snnexp.report.catalogue import EXPERIMENTS, experiments, listing
from snnexp.report.collect import RESULTS_CSV, RUNS, collect, read_rows, run_files
from snnexp.report.html import REPORT, write_report
from snnexp.report.pictures import FIGURES, keep
from snnexp.report.record import RecordError, read_result
from snnexp.report.show import compare, show
from snnexp.report.show_list import show_list
from snnexp.report.table import results_table, rewritten, write_table


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 after an error."""
    args = _parser().parse_args(argv)
    console = Console(highlight=False)
    try:
        return args.run(args, console)
    except RecordError as error:
        problem = str(error)
    except OSError as error:
        if error.errno not in DISK:
            raise
        where = error.filename or "the disk"
        problem = f"{where}: {error.strerror}; files that were there are as they were"
    Console(stderr=True, highlight=False).print(f"[red]error:[/] {escape(problem)}")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m snnexp.report", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    table = commands.add_parser("table", help="rewrite the results table of the README")
    table.add_argument("--readme", type=Path, default=Path("README.md"))
    table.add_argument("--csv", type=Path, default=RESULTS_CSV)
    table.add_argument("--check", action="store_true", help="change nothing; fail if it would")
    table.set_defaults(run=_table)

    add = commands.add_parser("collect", help="add runs to outputs/results.csv")
    add.add_argument("runs", nargs="*", type=Path, help="run folders, or folders of runs")
    add.add_argument("--all", action="store_true", help=f"every run below {RUNS}")
    add.add_argument("--csv", type=Path, default=RESULTS_CSV)
    add.set_defaults(run=_collect)

    one = commands.add_parser("show", help="print one run")
    one.add_argument("run_folder", metavar="RUN", type=Path)
    one.set_defaults(run=_show)

    every = commands.add_parser("list", help="print every experiment: claim, data, status")
    every.add_argument("--csv", type=Path, default=RESULTS_CSV)
    every.set_defaults(run=_list)

    page = commands.add_parser("html", help="write the report, one page for a browser")
    page.add_argument("--csv", type=Path, default=RESULTS_CSV)
    page.add_argument("--runs", type=Path, nargs="+", default=[RUNS], help="roots of run folders")
    page.add_argument("--out", type=Path, default=REPORT)
    page.set_defaults(run=_html)

    kept = commands.add_parser("figures", help="keep runs' pictures in outputs/figures")
    kept.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    kept.add_argument("--only", nargs="+", default=(), help="names, as in --only curves raster")
    kept.add_argument("--csv", type=Path, default=RESULTS_CSV)
    kept.set_defaults(run=_figures)

    two = commands.add_parser("compare", help="print what differs between two runs")
    two.add_argument("a", metavar="RUN", type=Path)
    two.add_argument("b", metavar="RUN", type=Path)
    two.add_argument("--all", action="store_true", help="figures of single classes too")
    two.set_defaults(run=_compare)
    return parser


def _table(args: argparse.Namespace, console: Console) -> int:
    rows = read_rows(args.csv)
    if not args.readme.is_file():
        raise RecordError(f"{args.readme}: no such file; name another with --readme")
    if args.check:
        stale = rewritten(args.readme, results_table(rows)) != args.readme.read_text("utf-8")
        console.print(f"{args.readme}: {'stale; run make table' if stale else 'up to date'}")
        return int(stale)
    changed = write_table(args.readme, rows)
    console.print(f"{args.readme}: {'rewritten' if changed else 'was up to date'}")
    return 0


def _collect(args: argparse.Namespace, console: Console) -> int:
    folders = [*args.runs, *([RUNS] if args.all else [])]
    if not folders:
        raise RecordError("name run folders, or give --all")
    files: list[Path] = []
    for folder in folders:
        below = [folder] if folder.is_file() else run_files(folder)
        if not below:
            raise RecordError(f"{folder}: no run's result.json in or below it")
        files += below
    done = collect(dict.fromkeys(files), args.csv)
    console.print(f"{args.csv}: {len(done.added)} runs added or replaced")
    if done.running:
        names = ", ".join(done.running)
        console.print(escape(f"left out, still running or killed: {names}"))
    for problem in done.problems:
        console.print(f"[red]left out:[/] {escape(problem)}")
    return int(bool(done.problems))


def _list(args: argparse.Namespace, console: Console) -> int:
    rows = read_rows(args.csv) if args.csv.is_file() else []
    show_list(listing(experiments(), rows), console)
    return 0


def _html(args: argparse.Namespace, console: Console) -> int:
    known = experiments() if EXPERIMENTS.is_dir() else []
    page = write_report(read_rows(args.csv), known, args.out, args.runs)
    size = page.stat().st_size
    console.print(f"{page}: {size / 1e6:.1f} MB; open it in a browser")
    return 0


def _figures(args: argparse.Namespace, console: Console) -> int:
    kept = keep(args.runs, read_rows(args.csv), only=args.only)
    size = sum(file.stat().st_size for file in kept)
    console.print(f"{FIGURES}: {len(kept)} figures kept, {size / 1e3:.0f} kB")
    return 0


def _show(args: argparse.Namespace, console: Console) -> int:
    path = args.run_folder
    show(read_result(path), console, path if path.is_dir() else path.parent)
    return 0


def _compare(args: argparse.Namespace, console: Console) -> int:
    compare(read_result(args.a), read_result(args.b), console, args.all)
    return 0


if __name__ == "__main__":
    sys.exit(main())
