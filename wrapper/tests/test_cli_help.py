"""The help of the command line: version, examples and colours."""

import io
import re
import shlex

import pytest
import unitask
from unitask.cli import app, main
from unitask.cli._report import ExitCode

Captured = pytest.CaptureFixture[str]
DELEGATED = ("bulk", "contract")  # with parsers of their own


def test_version_is_printed(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"unitask {unitask.__version__}\n"


@pytest.mark.parametrize("name", [name for name in app.COMMANDS if name not in DELEGATED])
def test_help_of_each_command_has_examples_that_it_accepts(name: str, capsys: Captured) -> None:
    assert main([name, "--help"]) == 0
    help_text = capsys.readouterr().out
    examples = app.COMMANDS[name].examples
    assert examples
    for example in examples:
        assert f"  {example}\n" in help_text
        program, command, *words = (word for word in shlex.split(example) if not word.startswith(("<", ">")))
        assert (program, command) == ("unitask", name)
        app._loaded(name).make_context(name, words).close()


def test_help_lists_commands_and_exit_codes(capsys: Captured) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert [name for name in app.COMMANDS if not re.search(rf"^  {name} ", out, re.M)] == []
    assert [code for code in ExitCode if f"  {code.value:<4} {code.about}\n" not in out] == []


def test_option_before_the_task_does_not_hide_its_help(capsys: Captured) -> None:
    assert main(["run", "--to", "out/", "face-swap", "--help"]) == 0
    assert "target-image" in capsys.readouterr().out


@pytest.mark.parametrize("no_color", [False, True])
def test_colours_are_for_terminals_without_no_color(no_color: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout", screen)
    assert main(["list", "--help"]) == 0
    assert bool(re.search(r"\x1b\[[\d;]*3\d", screen.getvalue())) != no_color
