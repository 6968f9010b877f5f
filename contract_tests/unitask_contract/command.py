"""`unitask contract`: check a provider, or recorded bodies, against the contract.

Exit codes: 0 the contract is kept, 1 it is broken, 2 it could not be checked.
"""

import argparse
import logging
import math
import os
import random
import sys
import traceback
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from statistics import median

from unitask_contract import bundle, causes, recorded, runner
from unitask_contract.causes import Cause
from unitask_contract.connecting import CannotRun
from unitask_contract.hiding import scrubbed, visible
from unitask_contract.money import Money
from unitask_contract.patches.proposals import Confirmed, Difference, differences, proposal
from unitask_contract.provider import Provider, remote, sandbox
from unitask_contract.recording import touched
from unitask_contract.recording.folder import ABOUT
from unitask_contract.report import SLOW, Report, text
from unitask_contract.report_files import FORMS, annotations

MEASURED = 10  # answers, before they are called slow

EPILOG = """\
Examples:
  unitask contract
  unitask contract --base-url https://provider.example --max-usd 0.05 --report out.html
  unitask contract --body recorded.json
  unitask contract --relied-on my-app/ --spec openapi.json

Exit codes: 0 the contract is kept, 1 it is broken, or touches the app, 2 it could not be checked."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    made = argparse.ArgumentParser(
        prog="unitask contract",
        description="Check a provider, or recorded bodies, against the contract.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--base-url", help="the provider (default: the sandbox in the same process; it costs nothing)")
    made.add_argument("--key", help="its API key (default: UNITASK_API_KEY, else the one that `unitask login` stored)")
    made.add_argument("--max-usd", type=float, default=0.05, help="what --base-url may cost in USD (default: 0.05)")
    made.add_argument(
        "--timeout",
        type=float,
        help="seconds that a task may take (default: three times what its type usually takes, 45 to 600);"
        " also the limit for an answer, up to 60",
    )
    made.add_argument(
        "--families", default="", help="only these, separated by commas; general is the checks of the whole provider"
    )
    made.add_argument("--checks", default="", help="only these, separated by commas; see --list")
    made.add_argument("--seed", type=int, help="generate the same random requests again")
    made.add_argument(
        "--report", action="append", default=[], type=Path, help=f"write a report to this file: {', '.join(FORMS)}"
    )
    made.add_argument(
        "--body",
        nargs="+",
        default=[],
        type=Path,
        help="check recorded bodies, or the folder of a recording, without a request",
    )
    made.add_argument(
        "--operation",
        help="what the bodies answer, such as get_task, or a notification, such as receive_task (default: guessed)",
    )
    made.add_argument(
        "--annotations",
        choices=("github", "none"),
        default="github" if os.environ.get("GITHUB_ACTIONS") == "true" else "none",
        help="print each finding as a workflow command, too (default: github where GITHUB_ACTIONS is true)",
    )
    made.add_argument(
        "--relied-on", type=Path, metavar="FOLDER", help="does the contract touch the app whose recording this is?"
    )
    made.add_argument("--spec", type=Path, help="for --relied-on: an openapi.json (default: the installed contract)")
    made.add_argument("--list", action="store_true", help="list the checks")
    return made


def main(arguments: list[str], stored_key: Callable[[str], str | None] = lambda _: None) -> int:
    """Run the command and return the exit code.

    Args:
        arguments: The words of the command.
        stored_key: Returns the key that is stored for a base URL, or None; raises ValueError if it cannot be read.
    """
    try:
        return _run(parser().parse_args(arguments, argparse.Namespace(stored_key=stored_key)))
    except CannotRun as error:
        _say(str(error))
    except KeyboardInterrupt:
        _say("interrupted before anything was checked")
    except BrokenPipeError:  # as of `| head`: the caller ends the program
        raise
    except Exception:
        traceback.print_exc()
        _say("this is a bug of unitask, not of the provider")
    return 2


def _run(options: argparse.Namespace) -> int:
    if not __debug__:
        raise CannotRun("python -O removes the assertions of the checks; run it without -O")
    if options.list:
        print("\n".join(f"{check.id:<28}{check.promise}" for check in runner.chosen()))
        return 0
    for path in options.report:
        if path.resolve() in {body.resolve() for body in options.body}:
            raise CannotRun(f"--report {path} is one of the bodies, and would be overwritten; choose another file")
        _check_place(path)
    try:
        report, said = _report(options)
    except CannotRun as error:
        cause = Cause("nothing could be checked", scrubbed(str(error), options.key or ""))
        _publish(Report("a provider", None, interrupted=True, cause=cause), "", options)
        raise
    _publish(report, said, options)
    return report.exit_code


def _report(options: argparse.Namespace) -> tuple[Report, str]:
    """Return the report, and its text for a terminal."""
    if options.relied_on and not (options.body or options.base_url):
        compared = touched.compare(options.relied_on, options.spec)
        return Report(compared.title, None, compared.results, headline=compared.verdict), compared.text
    if options.relied_on or options.spec:
        raise CannotRun(
            "--relied-on and --spec compare contracts; give --spec with --relied-on, and no --body, --base-url"
        )
    if [path for path in options.body if (path / ABOUT).is_file()]:
        report = _of_recording(options.body)
    elif options.body:
        bodies = recorded.report_of(options.body, options.operation)
        report = _with_patch(bodies, lambda: bodies.differences)
    else:
        report = _of_provider(options)
    return report, text(report)


def _of_recording(paths: Sequence[Path]) -> Report:
    if len(paths) > 1:
        raise CannotRun("--body: a recording is read alone; give its folder, and nothing else")
    report, confirmed = recorded.of_recording(paths[0])
    return _with_patch(report, lambda: report.differences, confirmed)


def _publish(report: Report, said: str, options: argparse.Namespace) -> None:
    """Write the reports, and print the text and the annotations."""
    written = [path for path in options.report if _write(path, report)]
    is_github = options.annotations == "github"
    if said:
        token = uuid.uuid4().hex  # a line of an answer could be a workflow command
        _print(f"::stop-commands::{token}\n{said}\n::{token}::" if is_github else said)
    for line in annotations(report) if is_github else ():
        _print(line)
    if sys.stderr.isatty():
        for path in written:
            _say(f"the report is in {path}")


def _check_place(path: Path) -> None:
    """Check that a report can be written, before anything is sent or paid."""
    if path.suffix not in FORMS:
        raise CannotRun(f"--report {path}: the file name has to end in one of {', '.join(FORMS)}")
    if not path.parent.is_dir():
        raise CannotRun(f"--report {path}: there is no folder {path.parent}")
    try:
        is_new = not path.exists()
        path.open("ab").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise CannotRun(f"--report {path} cannot be written ({error.strerror})") from None


def _write(path: Path, report: Report) -> bool:
    try:
        path.write_text(FORMS[path.suffix](report), encoding="utf-8", errors="backslashreplace")
    except (OSError, ValueError, RecursionError) as error:
        _say(f"--report {path} was not written ({error}); the result is on the terminal only")
        return False
    return True


def _print(text: str) -> None:
    """Print a text; characters that the terminal does not have are shown by their numbers."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _with_patch(report: Report, find: Callable[[], Sequence[Difference]], confirmed: Confirmed | None = None) -> Report:
    """Return the report with differences and a patch; a bug on the way does not lose the result."""
    try:
        found = find()
        return replace(report, differences=found, patch=proposal(found, confirmed))
    except Exception:
        traceback.print_exc()
        _say("the answers were not compared with the spec, or no change is proposed, because of a bug of unitask")
        return replace(report, interrupted=True)


def _of_provider(options: argparse.Namespace) -> Report:
    families, only = _families(options.families), _checks(options.checks)
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    logging.getLogger("unitask_sandbox").setLevel(logging.CRITICAL)  # the checks provoke its errors
    with _provider(options, seed) as provider:
        results: list[runner.Result] = []
        said: set[str] = set()
        interrupted = True
        with suppress(KeyboardInterrupt):
            for result in runner.run(provider, families, only):
                results.append(result)
                _progress(len(results), result)
                if not provider.inside:
                    _say_first(result, provider, said)
            interrupted = False
        cause, money = causes.of_all(provider.exchanges), provider.money
        report = Report(
            "the sandbox in-process" if options.base_url is None else scrubbed(options.base_url, provider.key),
            seed,
            results,
            held_usd=None if provider.inside else money.held_usd,
            limit_usd=money.limit_usd,
            unpriced=money.unpriced,
            interrupted=interrupted,
            cause=cause,
            seconds=median(provider.seconds or [0.0]),
        )
        return report if cause else _with_patch(report, lambda: _differences(provider))


def _say_first(result: runner.Result, provider: Provider, said: set[str]) -> None:
    """Report each cause when it is first seen; a run can take long."""
    seen = [result.cause] if result.cause and result.outcome is runner.Outcome.BROKEN else []
    seen += [causes.SLOW] if len(provider.seconds) >= MEASURED and median(provider.seconds) >= SLOW else []
    for cause in seen:
        if cause.id not in said:
            said.add(cause.id)
            _say(f"{cause.title} (found by {result.check.id}; the run continues)")


def _differences(provider: Provider) -> list[Difference]:
    """Return the differences; what is new only of a remote provider, in answers to requests that were not generated."""
    found = differences([*provider.exchanges, *provider.generated])
    named = [] if provider.inside else [one for one in differences(provider.exchanges) if one.kind.is_new]
    return [*(one for one in found if not one.kind.is_new), *named]


def _provider(options: argparse.Namespace, seed: int) -> AbstractContextManager[Provider]:
    if options.base_url is None:
        return sandbox(seed=seed)
    key = options.key or os.environ.get("UNITASK_API_KEY") or os.environ.get("PIAPI_API_KEY")
    try:
        key = key or options.stored_key(options.base_url)
    except ValueError as error:
        raise CannotRun(str(error)) from None
    if not key:
        raise CannotRun("the provider needs a key; store it with `unitask login`, set UNITASK_API_KEY, or give --key")
    if not (key.isascii() and key.isprintable()):
        raise CannotRun("the key has a character that a header cannot hold; remove line breaks and quotes around it")
    if options.timeout is not None and not 0 < options.timeout < math.inf:
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
