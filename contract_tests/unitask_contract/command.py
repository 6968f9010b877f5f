"""`unitask contract`: does a provider keep the contract, and do recorded bodies fit it?

Exit codes: 0 it is kept, 1 it is broken, 2 it could not be run.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import random
import sys
import traceback
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median

from unitask_contract import bundle, recorded, runner
from unitask_contract.connecting import CannotRun
from unitask_contract.counter import GENERAL, OF_A_PROVIDER, Coverage
from unitask_contract.hiding import scrubbed, visible
from unitask_contract.patches.proposals import Difference, Kind, differences, proposal
from unitask_contract.provider import Money, Provider, remote, sandbox
from unitask_contract.reports.files import FORMS
from unitask_contract.reports.report import Report
from unitask_contract.reports.terminal import text

LOCALLY = "the sandbox in-process"
NO_KEY = "a provider wants a key: set UNITASK_API_KEY, or give --key"


def parser() -> argparse.ArgumentParser:
    """What can be chosen."""
    made = argparse.ArgumentParser(
        prog="unitask contract",
        description="Does a provider keep the contract, and do recorded bodies fit it?",
        epilog="Exit codes: 0 kept, 1 broken, 2 could not be run.",
    )
    made.add_argument("--base-url", help="the provider (default: the sandbox in-process; it costs nothing)")
    made.add_argument("--key", help="its API key (else UNITASK_API_KEY)")
    made.add_argument("--max-usd", type=float, default=0.05, help="what --base-url may cost (default: 0.05)")
    made.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        help="seconds that a task may take (default: 600); an answer may take as long, at most 60",
    )
    made.add_argument("--families", default="", help="only these, with commas; general: checks of the whole provider")
    made.add_argument("--checks", default="", help="only these, with commas; --list has them")
    made.add_argument("--seed", type=int, help="draw the same random requests again")
    made.add_argument("--report", action="append", default=[], type=Path, help=f"a file: {', '.join(FORMS)}")
    made.add_argument("--body", nargs="+", default=[], type=Path, help="check recorded bodies; asks no provider")
    made.add_argument(
        "--operation",
        help="what the bodies answer, such as get_task, or a notification, such as receive_task (else guessed)",
    )
    made.add_argument("--list", action="store_true", help="what is checked")
    return made


def main(arguments: list[str]) -> int:
    """Run what is asked for, say what came of it, and return the exit code."""
    try:
        return _run(parser().parse_args(arguments))
    except CannotRun as error:
        _say(str(error))
    except KeyboardInterrupt:
        _say("interrupted before anything was checked")
    except Exception:
        traceback.print_exc()
        _say("this is a fault of unitask, and says nothing of the provider")
    return 2


def _run(options: argparse.Namespace) -> int:
    if not __debug__:
        raise CannotRun("python -O leaves out the assertions that the checks are made of; run it without -O")
    if options.list:
        print("\n".join(f"{check.id:<28}{check.promise}" for check in runner.chosen()))
        return 0
    for path in options.report:
        if path.resolve() in {body.resolve() for body in options.body}:
            raise CannotRun(f"--report {path}: it is one of the bodies, and would be overwritten; give another file")
        _check_place(path)
    report = recorded.report_of(options.body, options.operation) if options.body else _of_provider(options)
    for path in options.report:
        _write(path, report)
    _print(text(report))
    return report.exit_code


def _check_place(path: Path) -> None:
    """Whether a report can be written, before anything is asked or paid."""
    if path.suffix not in FORMS:
        raise CannotRun(f"--report {path}: the ending says what to write; there are {', '.join(FORMS)}")
    if not path.parent.is_dir():
        raise CannotRun(f"--report {path}: there is no folder {path.parent}")
    try:
        is_new = not path.exists()
        if is_new or not path.is_fifo():  # a pipe without a reader would block
            with path.open("ab"):
                pass
        if is_new:
            path.unlink()
    except OSError as error:
        raise CannotRun(f"--report {path}: it cannot be written ({error.strerror})") from None


def _write(path: Path, report: Report) -> None:
    """Write a report; where that fails, say so: the result is on the terminal all the same."""
    try:
        path.write_text(FORMS[path.suffix](report), encoding="utf-8", errors="backslashreplace")
    except (OSError, ValueError, RecursionError) as error:
        _say(f"--report {path} was not written ({error}); the result of the run is on the terminal alone")


def _print(text: str) -> None:
    """Print a text on a terminal of any encoding: what it does not have is shown by its number."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _of_provider(options: argparse.Namespace) -> Report:
    families, only = _families(options.families), _checks(options.checks)
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    logging.getLogger("unitask_sandbox").setLevel(logging.CRITICAL)  # what is done to it is its own affair
    with _provider(options, seed) as provider:
        results, interrupted = _results(provider, families, only)
        cause = runner.common_cause(provider.exchanges)
        found: list[Difference] = []
        patch = ""
        try:
            found = [] if cause else _differences(provider)
            patch = proposal(found)
        except Exception:  # what the checks have seen, and was paid for, is told all the same
            traceback.print_exc()
            _say("the answers were not compared with the spec, or no change is proposed, by a fault of unitask")
            interrupted = True
        subject = LOCALLY if options.base_url is None else scrubbed(options.base_url, provider.key)
        money = provider.money
        counted, among = Coverage((*provider.exchanges, *provider.drawn)), _counted(families)
        return Report(
            subject,
            seed,
            results,
            found,
            patch,
            counted.numbers(OF_A_PROVIDER, among),
            [str(one) for one in counted.missing(OF_A_PROVIDER, among)],
            None if provider.inside else money.held_usd,
            money.limit_usd,
            money.unpriced,
            interrupted=interrupted,
            cause=cause,
            seconds=median(provider.seconds or [0.0]),
        )


def _results(
    provider: Provider, families: tuple[str, ...], only: tuple[runner.Check, ...]
) -> tuple[list[runner.Result], bool]:
    """What came of each check, and whether it was interrupted before the last."""
    results: list[runner.Result] = []
    try:
        for result in runner.run(provider, families, only):
            results.append(result)
            _progress(len(results), result)
    except KeyboardInterrupt:
        return results, True
    return results, False


def _differences(provider: Provider) -> list[Difference]:
    """What differs from the spec; new is only what a provider of somebody else says without being asked."""
    every = differences([*provider.exchanges, *provider.drawn])
    found = [one for one in every if one.kind is not Kind.NEW_FIELD]
    if provider.inside is None:
        found += [one for one in differences(provider.exchanges) if one.kind is Kind.NEW_FIELD]
    return found


def _provider(options: argparse.Namespace, seed: int) -> AbstractContextManager[Provider]:
    if options.base_url is None:
        return sandbox(seed=seed)
    key = options.key or os.environ.get("UNITASK_API_KEY") or os.environ.get("PIAPI_API_KEY")
    if not key:
        raise CannotRun(NO_KEY)
    if not (key.isascii() and key.isprintable()):
        raise CannotRun("the key has a character that no header can hold; is there a line break or a quote around it?")
    if not 0 < options.timeout < math.inf:
        raise CannotRun(f"--timeout {options.timeout}: give seconds, more than 0")
    if math.isnan(options.max_usd) or options.max_usd < 0:
        raise CannotRun(f"--max-usd {options.max_usd}: give an amount in US dollars, 0 or more, or inf")
    return remote(options.base_url, key, Money(options.max_usd), timeout=options.timeout, seed=seed, say=_say)


def _families(text: str) -> tuple[str, ...]:
    wanted = tuple(name for name in text.split(",") if name)
    known = {entry["family"] for entry in bundle.entries().values() if entry["protocol"] == "unified"}
    if unknown := [name for name in wanted if name not in known | {runner.GENERAL}]:
        raise CannotRun(f"no family {', '.join(unknown)}; there are {runner.GENERAL}, {', '.join(sorted(known))}")
    return wanted


def _counted(families: tuple[str, ...]) -> tuple[str, ...]:
    """The families that are counted: the checks of the whole provider are about several."""
    return tuple(
        name for family in families for name in ((*GENERAL, "legacy") if family == runner.GENERAL else (family,))
    )


def _checks(text: str) -> tuple[runner.Check, ...]:
    try:
        return runner.chosen(name for name in text.split(",") if name)
    except LookupError as error:
        raise CannotRun(str(error.args[0])) from None


def _say(text: str) -> None:
    print(f"unitask contract: {visible(text)}", file=sys.stderr, flush=True)


def _progress(number: int, result: runner.Result) -> None:
    if sys.stderr.isatty():
        print(f"\r{number} checks, now {result.check.id} {result.subject:<40}", end="\r", file=sys.stderr)
