"""The help of the command line: examples and colours."""

import contextlib
import io
import re
import shlex

import pytest
from unitask.cli import app, main
from unitask.cli._report import ExitCode

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", app.COMMANDS)
def test_help_of_each_command_has_examples_that_it_accepts(name: str, capsys: Captured) -> None:
    with contextlib.suppress(SystemExit):  # of argparse
        assert main([name, "--help"]) == 0
    help_text = capsys.readouterr().out
    assert f"\nExamples:\n  unitask {name}" in help_text
    for example in app.COMMANDS[name].examples:
        assert f"  {example}\n" in help_text
        program, command, *words = (word for word in shlex.split(example) if not word.startswith(("<", ">")))
        assert (program, command) == ("unitask", name)
        app._loaded(name).make_context(name, words).close()


def test_help_lists_commands_and_exit_codes(capsys: Captured) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert [name for name in app.COMMANDS if not re.search(rf"^  {name} ", out, re.M)] == []
    steps = re.findall(r"^  unitask (\S+)", out.partition("First steps:")[2], re.M)
    assert set(steps) <= set(app.COMMANDS)
    assert steps
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
