"""`python -m tests.bench [append|project|api|verify|audit|events …] [--quick] [--json] [--only ROW …] [--profile]`, all
of them when none is named. `python -m tests.bench scale [--events N] [--folder DIR]` fills a log first, which takes
long; `python -m tests.bench peers install` installs what others are compared by."""

import argparse
import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from keyfold.cli.serve import _event_loop

from . import api, append, audit, events, project, scale, verify
from .catalogue import GROUPS, ROWS, chosen, rows_of
from .filling import FEW, MANY
from .install import install
from .machine import describe
from .measure import Outcome
from .report import as_json, as_markdown
from .stage import BenchError, Options, Stage, staged

_MEASURES: dict[str, Callable[[Stage], AsyncIterator[Outcome]]] = {
    "append": append.measure,
    "project": project.measure,
    "api": api.measure,
    "verify": verify.measure,
    "audit": audit.measure,
    "events": events.measure,
}
_LIMIT = {True: 360, False: 1800}
"""Seconds after which a run is given up, quick or not: something hangs. `scale` shows how far it is."""


def main() -> None:
    arguments = _parse(sys.argv[1:])
    job = install() if arguments.groups == ["peers", "install"] else _run(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with asyncio.Runner(loop_factory=_event_loop) as runner:
        try:
            runner.run(_stoppable(job))
        except BenchError as error:
            sys.exit(str(error))
        except (KeyboardInterrupt, asyncio.CancelledError):
            sys.exit("stopped")
        except TimeoutError:
            sys.exit(f"Given up: the run took longer than {_LIMIT[arguments.quick]} seconds.")


def _parse(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "groups",
        nargs="*",
        metavar="append|project|api|verify|audit|events|scale",
        help="which rows; all but scale when none is named",
    )
    parser.add_argument("--events", type=int, default=MANY, help="of scale: how many the large log has")
    parser.add_argument("--folder", type=Path, default=scale.FOLDER, help="of scale: where the logs stay")
    parser.add_argument("--quick", action="store_true", help="about three minutes in all, and less exact")
    parser.add_argument("--json", action="store_true", help="JSON on standard output instead of a table")
    parser.add_argument(
        "--only", action="append", default=[], metavar="ROW", help=f"of whichever group: {', '.join(ROWS)}"
    )
    parser.add_argument("--profile", action="store_true", help="profiles of our side as well, on standard error")
    arguments = parser.parse_args(given)
    if arguments.groups != ["peers", "install"]:
        try:
            arguments.groups = chosen(arguments.groups, arguments.only)
        except ValueError as error:
            parser.error(str(error))
    return arguments


async def _run(arguments: argparse.Namespace) -> None:
    options = Options(
        rounds=3 if arguments.quick else 7,
        uncounted=0 if arguments.quick else 1,  # the median of three drops the first by itself
        seconds=1 if arguments.quick else 2,
        quick=arguments.quick,
        profile=arguments.profile,
        only=frozenset(arguments.only),
    )
    outcomes: list[Outcome] = []
    measures = _MEASURES | {"scale": partial(scale.measure, folder=arguments.folder, events=arguments.events)}
    limit = None if "scale" in arguments.groups else _LIMIT[arguments.quick]
    async with asyncio.timeout(limit), staged(options) as stage:
        machine = await describe(stage)
        if any(options.wants(row) for row in scale.WORK) and "scale" in arguments.groups:
            machine["events in the logs of scale"] = f"{arguments.events:,} and {FEW:,}"
        gc.collect()
        gc.freeze()  # as every process of Keyfold does that serves or rebuilds
        for group in arguments.groups:
            if options.wants(*(row.name for row in GROUPS[group])):
                async for outcome in measures[group](stage):
                    print(f"{outcome.row}: {outcome.skipped or 'measured'}", file=sys.stderr)
                    outcomes.append(outcome)
                    if options.profile and not ROWS[outcome.row].is_profiled:
                        print(f"{outcome.row}: NOT PROFILED: its time is in processes of others", file=sys.stderr)
    rows = rows_of(arguments.events)
    print(as_json(machine, outcomes, rows) if arguments.json else as_markdown(machine, outcomes, rows))


async def _stoppable(job: Coroutine[None, None, None]) -> None:
    """Ends in order on SIGTERM as well; Ctrl-C does so by itself."""
    task = asyncio.current_task()
    if task is not None:
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await job


if __name__ == "__main__":
    main()
