"""The commands: their names, what their help says, and where each is. A command is imported when it is called."""

import re
import sys
import textwrap
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException
from unitask_api import contract

from .. import errors
from .._terminal import find_task_type, give_up, is_terminal, kebab, put, say, task_type
from .._version import __version__
from . import catalogue
from ._report import ExitCode, exit_code, reports

# The extra [cli] allows the imports of typer.main here; rich draws help on a terminal, and plain text goes into a pipe.


class Entry(NamedTuple):
    """A command."""

    where: str  # module:function, the module relative to this package
    about: str
    examples: tuple[str, ...] = ()


COMMANDS: dict[str, Entry] = {
    "run": Entry(
        ".run:run",
        "Run a task, and fetch its result. `unitask run TASK --help` describes a task.",
        (
            "unitask run face-swap target-image=group.jpg swap-image=me.png --to swapped.png",
            "unitask run flux-dev-txt2img prompt=@prompt.txt width=768 --to out/ --max-usd 0.05",
            "unitask run image-upscale image=- --to - <small.png >large.png",
        ),
    ),
    "submit": Entry(
        ".run:submit",
        "Submit a task without waiting for it, and print its id.",
        ("unitask submit suno-music prompt='a sea shanty'",),
    ),
    "wait": Entry(
        ".run:wait",
        "Wait for a task, and fetch its result.",
        ("unitask wait 90efd2db-bcfc-413f-a0be-c893850c9d68 --to out/",),
    ),
    "get": Entry(
        ".run:get",
        "Show a task as it is now.",
        ("unitask get 90efd2db-bcfc-413f-a0be-c893850c9d68 --json",),
    ),
    "download": Entry(
        ".run:download",
        "Fetch the files of a task that is done.",
        ("unitask download 90efd2db-bcfc-413f-a0be-c893850c9d68 --to out/",),
    ),
    "cancel": Entry(
        ".run:cancel",
        "Cancel a task that has not begun.",
        ("unitask cancel 90efd2db-bcfc-413f-a0be-c893850c9d68",),
    ),
    "upload": Entry(".run:upload", "Upload a file for 24 hours, and print its URL.", ("unitask upload face.png",)),
    "list": Entry(
        ".account:history",
        "List past tasks, the newest first. `history` is the same.",
        ("unitask list --state failed --since 7d", "unitask list --task face-swap --limit 0 --json >tasks.json"),
    ),
    "history": Entry(".account:history", "The same as `list`.", ("unitask history --since 2026-11-28",)),
    "account": Entry(".account:account", "Print balance, plan and limits of the account.", ("unitask account --json",)),
    "find": Entry(
        ".account:find",
        "Find out what became of submissions whose answer was lost. Also after a crash, or a closed laptop.",
        ("unitask find", "unitask find us1.WyJ4... --json"),
    ),
    "estimate": Entry(
        ".account:estimate",
        "Estimate what a task costs, by the published prices. Nothing is sent.",
        ("unitask estimate flux-dev-txt2img prompt='a paper boat' width=1024 height=768",),
    ),
    "tasks": Entry(
        ".catalogue:tasks",
        "List the task types, with price and description.",
        ("unitask tasks video face", "unitask tasks --family kling", "unitask tasks --json"),
    ),
    "show": Entry(
        ".catalogue:show", "Show fields, limits and price of a task type, and an example.", ("unitask show face-swap",)
    ),
    "login": Entry(
        ".settings:login",
        "Store an API key, in the keyring of the system if there is one. It is read without echo, or from stdin.",
        ("unitask login", "unitask login --base-url http://127.0.0.1:8042 <key.txt"),
    ),
    "logout": Entry(".settings:logout", "Remove the stored API key.", ("unitask logout",)),
    "config": Entry(
        ".settings:config",
        "Show the settings and where they come from. Or store the base URL.",
        ("unitask config", "unitask config --base-url http://127.0.0.1:8042", "unitask config --base-url ''"),
    ),
    "doctor": Entry(
        ".settings:doctor",
        "Check key, base URL, proxy, provider, clock, balance and extras. Nothing is paid.",
        ("unitask doctor", "unitask doctor --json"),
    ),
    "sandbox": Entry(
        ".provider:sandbox",
        "Run the local provider, which needs no account and costs nothing.",
        ("unitask sandbox", "unitask sandbox --port 0 --speed real"),
    ),
    "replay": Entry(
        ".recording:replay",
        "Answer from a recording, without a provider.",
        ("unitask replay recordings/swap", "unitask replay recordings/swap --else sandbox"),
    ),
    "demo": Entry(
        ".provider:demo",
        "Swap two sample faces, with a local provider that ends with it.",
        ("unitask demo --out out/demo",),
    ),
    "mcp": Entry(
        "..mcp.command:serve",
        "Serve tools for assistants, by the Model Context Protocol.",
        ("unitask mcp --files pictures/ --max-usd 2",),
    ),
    "record": Entry(
        ".recording:record",
        "Record the traffic of any client, and check it against the contract: a proxy in front of the provider.",
        (
            "unitask record --to traffic/",
            "unitask record --to traffic/ --base-url http://127.0.0.1:8042 --check",
        ),
    ),
    "contract": Entry("", "Check a provider, or recorded bodies, against the contract."),
    "bulk": Entry(
        ".bulk:bulk",
        "Run the tasks of a JSONL or CSV file, with a journal.",
        (
            "unitask bulk swaps.csv --task face-swap --to out/ --max-usd 5",
            "unitask bulk resume swaps.db",
            "unitask bulk export swaps.db --json",
        ),
    ),
}


FIRST_STEPS = (
    "unitask sandbox            # no account? it prints a line for another terminal",
    "unitask login              # or store the key of your account",
    "unitask tasks face         # search the task types",
    "unitask run face-swap target-image=group.jpg swap-image=me.png --to swapped.png",
)
ABOUT_TASKS = ("run", "submit", "estimate")  # their first word is a task, which their help describes
WORDS = "unitask.words"  # of a command, in the context of typer


def run(arguments: list[str]) -> int:
    """Run a command; return its exit code."""
    try:
        code: object = _application().main(arguments or ["--help"], prog_name="unitask", standalone_mode=False)
    except errors.UnitaskError as error:  # of the help of a task that does not exist
        say(*reports(error, None))
        return exit_code(error)
    except SystemExit as end:  # 1: typer's answer to a closed stdout; 0: the shell has its completions
        return ExitCode.CLOSED if end.code else ExitCode.DONE
    except TyperException as error:  # wrong use
        context = getattr(error, "ctx", None)
        path = context.command_path if context else " ".join(["unitask", *(set(arguments[:1]) & set(COMMANDS))])
        say(f"unitask: {_wrong_use(error)}", f"unitask: `{path} --help` shows how it is used")
        return ExitCode.USAGE
    return code if isinstance(code, int) else 0


def _wrong_use(error: TyperException) -> str:
    """Return what is wrong with the words of a command; an option may be meant as a field of the task."""
    context, option = getattr(error, "ctx", None), str(getattr(error, "option_name", ""))
    field = option.removeprefix("--")
    entries = map(find_task_type, context.meta.get(WORDS, ()) if context else ())
    if any(contract.field_rule(entry.input, field.replace("-", "_")) for entry in entries if entry):
        return f"{option} is a field of the task, and no option: write it as {field}=VALUE"
    message = error.format_message().rstrip(".")
    return message.replace("a valid float range", "a number").replace("a valid int range", "a whole number")


class Command(TyperCommand):
    """A command whose errors are reported in the words of the command line."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Carry out the command; return its exit code."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            give_up(sys.stdout)
            if ctx.obj is not None and ctx.obj.task is not None:
                say(*reports(error, ctx.obj))
            return ExitCode.CLOSED
        except (errors.UnitaskError, KeyboardInterrupt) as error:
            say(*reports(error, ctx.obj))
            return exit_code(error, ctx.obj and ctx.obj.task)
        except (TyperException, typer.Exit):
            raise
        except Exception as error:
            if ctx.obj is None:
                raise
            say(*reports(error, ctx.obj))
            return ExitCode.UNEXPECTED

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words, since the help of `run` is about the task that they name."""
        ctx.meta[WORDS] = list(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, and examples, whose lines are not wrapped."""
        words = [word for word in ctx.meta.get(WORDS, ()) if not word.startswith("-")]
        task = next(filter(find_task_type, words), words[0] if words else None)  # the value of an option may precede it
        if self.name in ABOUT_TASKS and task is not None:
            formatter.write(_about_task(task, formatter.width))
            self.format_options(ctx, formatter)
            return
        super().format_help(ctx, formatter)
        formatter.write(examples(str(self.name)))


def examples(name: str) -> str:
    """Return the examples of a command, for its help."""
    return "\nExamples:\n" + "".join(f"  {example}\n" for example in COMMANDS[name].examples)


class _Commands(TyperGroup):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        formatter.write("\nFirst steps:\n" + "".join(f"  {step}\n" for step in FIRST_STEPS))
        formatter.write("\nExit codes:\n" + "".join(f"  {code.value:<4} {code.about}\n" for code in ExitCode))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args[0] not in COMMANDS and (entry := find_task_type(args[0])):
            raise errors.InvalidInput(f"{args[0]!r} is a task type, not a command: `unitask run {kebab(entry.name)}`")
        name, found, rest = super().resolve_command(ctx, args)
        return name, _loaded(str(name)) if found and COMMANDS[str(name)].where else found, rest


def _about_task(name: str, width: int) -> str:
    lines = [
        textwrap.fill(line, width, subsequent_indent=" " * _indent(line), break_on_hyphens=False)
        for line in catalogue.description(task_type(name))
        if not line.startswith("  unitask ")
    ]
    return "\n".join([*lines, f"  {catalogue.example(task_type(name))}", ""])


def _indent(line: str) -> int:
    """Return where the text of a line begins, behind the name of a field."""
    found = re.match(r" *(\S+ {2,})?", line)
    return found.end() if found else 0


def _application() -> Any:
    application = _typer(cls=_Commands)
    application.callback()(_unitask)
    group: Any = typer.main.get_command(application)
    for name, entry in COMMANDS.items():
        group.add_command(TyperCommand(name, help=entry.about))
    return group


def _loaded(name: str) -> Any:
    entry = COMMANDS[name]
    module, _, function = entry.where.partition(":")
    command: Any = getattr(import_module(module, __package__), function)
    application = _typer(add_completion=False)
    if isinstance(command, typer.Typer):  # it has commands of its own
        command.rich_markup_mode, application = application.rich_markup_mode, command
    else:
        application.command(name, cls=Command, help=entry.about)(command)
    return typer.main.get_command(application)


def _typer(**given: Any) -> typer.Typer:
    markup: Any = "rich" if is_terminal(sys.stdout) else None
    settings = {"help_option_names": ["-h", "--help"]}
    return typer.Typer(rich_markup_mode=markup, context_settings=settings, pretty_exceptions_enable=False, **given)


def _version(given: bool) -> None:
    if given:
        put(f"unitask {__version__}")
        raise typer.Exit


def _unitask(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Client and local provider for the unified generation-task API (PiAPI, Qubico)."""
