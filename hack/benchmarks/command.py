"""`hack/bench`: its command line."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.freeze import Frozen, as_json, freeze_goals, freeze_plot, freeze_rows, measure_freezes
from benchmarks.library import measure_library
from benchmarks.report import Goal, Row, table, write_json
from benchmarks.scene import scene
from benchmarks.store import Stored, measure_stores, store_goals, store_json, store_plot, store_rows
from swarmlab.process import LabError

DESCRIPTION = """Measures SwarmKeep: the checkpoint store alone (library), and beside docker checkpoint and podman on a
real node (freeze, store). The latter boot a lab of one node with Podman and take it down again; they need root, and
want no other lab to be up. Figures of a machine that does other things too: take the ratios."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one measurement; returns its exit code."""
    options = _parser().parse_args(arguments)
    # A terminated measurement must take its lab down like an interrupted one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        options.run(options)
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    return 0


def _freeze(options: argparse.Namespace) -> None:
    samples: list[Frozen] = []
    try:
        with scene(options.staging) as stage:
            measure_freezes(stage, options.sizes, options.repeat, samples)
    finally:
        # What was measured by then is told after an interruption too.
        if samples:
            rows, goals = freeze_rows(samples), freeze_goals(samples)
            _tell(options, "freeze", rows, as_json(samples), goals, freeze_plot(samples))


def _store(options: argparse.Namespace) -> None:
    found: list[Stored] = []
    try:
        with scene(options.staging) as stage:
            measure_stores(stage, options.sizes, options.series, found)
    finally:
        if any(result.versions for result in found):
            _tell(options, "store", store_rows(found), store_json(found), store_goals(found), store_plot(found))


def _tell(
    options: argparse.Namespace,
    what: str,
    rows: Sequence[Row],
    samples: Sequence[Mapping[str, object]],
    goals: Sequence[Goal],
    plot: str,
) -> None:
    print(table(rows))
    print()
    for goal in goals:
        print(goal)
    if options.output:
        write_json(options.output / f"{what}.json", what, samples, goals)
        (options.output / f"{what}.svg").write_text(plot)
        print(f"\nwritten: {options.output / what}.json and .svg")


def _sizes(text: str) -> list[int]:
    sizes = [int(word) for word in text.split(",")]
    if not sizes or any(not 10 <= size <= 20_000 for size in sizes):
        raise argparse.ArgumentTypeError("sizes are megabytes from 10 to 20000, like 100,750")
    return sizes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hack/bench", description=DESCRIPTION, epilog="Example: hack/bench freeze --sizes 100,750,2000"
    )
    verbs = parser.add_subparsers(required=True, metavar="WHAT")
    library = verbs.add_parser("library", help="the checkpoint store alone, on a made-up image")
    library.add_argument("--megabytes", type=int, default=750, help="size of the made-up image (default 750)")
    library.add_argument("--versions", type=int, default=0, help="how many more busy versions to put")
    library.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where to work; about 4 times the size")  # noqa: S108
    library.add_argument("--image", type=Path, nargs="+", help="folders to store instead of a made-up image")
    library.set_defaults(run=measure_library)

    freeze = verbs.add_parser("freeze", help="frozen time, and what a version costs, beside docker and podman")
    freeze.add_argument("--repeat", type=int, default=3, help="versions of each kind; peers take turns (default 3)")
    freeze.set_defaults(run=_freeze)
    store = verbs.add_parser("store", help="bytes, processor, memory, restore, and a series under load")
    store.add_argument("--series", type=int, default=5, help="versions under load, one after the other (default 5)")
    store.set_defaults(run=_store)
    for verb in (freeze, store):
        sizes = "of the Redis, in MB; 100,750,2000 for all (default 750)"
        verb.add_argument("--sizes", type=_sizes, default=[750], help=sizes)
        verb.add_argument("--staging", help="where SwarmKeep's agent dumps to, like /dev/shm/x (default: its own)")
    for verb in (library, freeze, store):
        verb.add_argument("--output", type=Path, help="a folder for the figures as JSON and a plot as SVG")
    return parser
