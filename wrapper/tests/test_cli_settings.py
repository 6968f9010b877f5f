"""`unitask login`, `logout`, `config` and `doctor`."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from unitask.cli import main, settings
from unitask.testing import UnitaskProvider
from unitask_sandbox import Settings, running

Captured = pytest.CaptureFixture[str]
KEY = "a-key-of-32-letters-and-digits-0123"
OTHER = "https://another.test"


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the stored settings; no library keyring is installed."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "keyring", None)
    return tmp_path / "unitask" / "config.json"


@pytest.fixture
def provider(unitask_provider: UnitaskProvider, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> UnitaskProvider:
    """A provider whose key is not in the environment."""
    monkeypatch.delenv("UNITASK_API_KEY")
    return unitask_provider


class Keyring:
    """A library keyring with one backend."""

    def __init__(self, *, priority: float = 5, locked: bool = False) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.priority, self.locked = priority, locked

    def get_keyring(self) -> Any:
        return SimpleNamespace(priority=self.priority)

    def set_password(self, service: str, name: str, password: str) -> None:
        if self.locked:
            raise RuntimeError("locked")
        self.kept[service, name] = password

    def get_password(self, service: str, name: str) -> str | None:
        return self.kept.get((service, name))

    def delete_password(self, service: str, name: str) -> None:
        del self.kept[service, name]


def login(monkeypatch: pytest.MonkeyPatch, *arguments: str, key: str = KEY) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{key}\n"))
    return main(["login", *arguments])


def keys_sent(provider: UnitaskProvider) -> list[str]:
    return [request.headers["x-api-key"] for request in provider.requests]


def test_stored_key_is_used_until_logout_and_never_shown(
    provider: UnitaskProvider, config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    assert login(monkeypatch) == 0
    assert main(["account"]) == 0
    assert keys_sent(provider) == [KEY, KEY]
    assert [file.stat().st_mode & 0o777 for file in (config_file, config_file.parent)] == [0o600, 0o700]

    assert main(["config"]) == 0
    assert main(["logout"]) == 0
    assert main(["account"]) == 4
    captured = capsys.readouterr()
    assert "`unitask login" in captured.err
    assert "`unitask sandbox`" in captured.err
    assert KEY not in captured.out + captured.err + config_file.read_text()


def test_key_at_a_terminal_is_read_without_echo(provider: UnitaskProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("getpass.getpass", Mock(side_effect=[EOFError, KEY]))

    assert main(["login"]) == 2  # Ctrl-D
    assert main(["login"]) == 0
    assert main(["account"]) == 0
    assert keys_sent(provider) == [KEY, KEY]


@pytest.mark.parametrize("stdin", [None, SimpleNamespace(isatty=lambda: True)], ids=["closed", "ended"])
def test_missing_key_and_file_on_stdin_are_reported(
    stdin: Any, provider: UnitaskProvider, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def ended(_: str) -> str:
        raise EOFError

    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr("getpass.getpass", ended)
    monkeypatch.setenv("UNITASK_API_KEY", KEY)
    assert [main(["login"]), main(["upload", "-"])] == [2, 2]
    err = capsys.readouterr().err
    assert ("no key was given" in err, "nothing on stdin" in err) == (True, True)


def test_environment_wins_over_the_stored_key(
    provider: UnitaskProvider, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("PIAPI_API_KEY", "from-the-environment")
    assert login(monkeypatch) == 0
    assert "PIAPI_API_KEY is set, and wins" in capsys.readouterr().err

    assert main(["account"]) == 0
    assert keys_sent(provider) == [KEY, "from-the-environment"]


def test_stored_key_is_sent_only_to_its_base_url(provider: UnitaskProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    assert login(monkeypatch) == 0
    assert main(["account", "--base-url", OTHER]) == 4
    assert login(monkeypatch, "--base-url", f"{OTHER}/", key="another-key") == 0
    assert main(["account", "--base-url", OTHER]) == 0
    assert keys_sent(provider) == [KEY, "another-key", "another-key"]


def test_key_goes_into_the_keyring(
    provider: UnitaskProvider, config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    ring = Keyring()
    monkeypatch.setitem(sys.modules, "keyring", ring)  # type: ignore[arg-type]
    assert login(monkeypatch) == 0
    assert "stored in the keyring" in capsys.readouterr().err
    assert list(ring.kept.values()) == [KEY]
    assert KEY not in config_file.read_text()

    assert main(["account"]) == 0
    assert keys_sent(provider) == [KEY, KEY]
    assert main(["logout"]) == 0
    assert ring.kept == {}


@pytest.mark.parametrize("ring", [Keyring(priority=0.5), Keyring(locked=True)], ids=["a plain file", "locked"])
def test_key_goes_into_the_file_if_the_keyring_cannot_keep_it(
    ring: Keyring, provider: UnitaskProvider, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", ring)  # type: ignore[arg-type]
    assert login(monkeypatch) == 0
    assert KEY in config_file.read_text()


@pytest.mark.parametrize(
    ("key", "reply", "code", "words"),
    [
        (KEY, httpx.Response(401), 4, "not stored"),
        ("", None, 2, "no key was given"),
        ("two words", None, 2, "copy it again"),
    ],
)
def test_unusable_key_is_not_stored(
    key: str,
    reply: httpx.Response | None,
    code: int,
    words: str,
    provider: UnitaskProvider,
    config_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    if reply is not None:
        provider.answers(reply)
    assert login(monkeypatch, key=key) == code
    assert words in capsys.readouterr().err
    assert not config_file.exists()


def test_base_url_is_stored_removed_and_shown_with_its_source(
    provider: UnitaskProvider, config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.delenv("UNITASK_BASE_URL")

    def shown(*arguments: str) -> Any:
        assert main(["config", "--json", *arguments]) == 0
        return json.loads(capsys.readouterr().out)["base URL"]

    assert shown() == {"value": "https://api.piapi.ai", "source": "the default"}
    assert shown("--base-url", f"{OTHER}/") == {"value": OTHER, "source": str(config_file)}
    monkeypatch.setenv("UNITASK_API_KEY", KEY)
    assert main(["account"]) == 0
    assert provider.requests[0].url.startswith(OTHER)
    capsys.readouterr()
    assert shown("--base-url", "")["source"] == "the default"
    monkeypatch.setenv("UNITASK_BASE_URL", "https://of.environment.test")
    assert shown()["source"] == "UNITASK_BASE_URL"
    assert main(["config", "--base-url", f"{OTHER}/api/v1"]) == 2
    assert "leave out /api/v1" in capsys.readouterr().err
    assert main(["config", "--base-url", OTHER]) == 0
    assert f"{OTHER} is stored\nunitask: warning: UNITASK_BASE_URL is set, and wins" in capsys.readouterr().err


def test_file_that_cannot_be_written_leaves_nothing_of_the_key(
    provider: UnitaskProvider, config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    config_file.mkdir(parents=True)
    monkeypatch.setattr("unitask.cli._config._stored", dict)
    assert login(monkeypatch) == 10
    assert "cannot be written" in capsys.readouterr().err
    assert list(config_file.parent.iterdir()) == [config_file]


@pytest.mark.parametrize("content", ["{", "[" * 100_000], ids=["cut off", "deep"])
def test_damaged_settings_are_named(content: str, config_file: Path, capsys: Captured) -> None:
    config_file.parent.mkdir()
    config_file.write_text(content)
    assert main(["config"]) == 2
    assert f"{config_file} cannot be read" in capsys.readouterr().err
    assert main(["tasks"]) == 0


ACCOUNT = {"name": "me", "equivalent_in_usd": 3.5, "plan": "Creator"}


def doctor(capsys: Captured, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run `unitask doctor`; return its exit code, and its findings by name."""
    code = main(["doctor", "--json", *arguments])
    captured = capsys.readouterr()
    assert KEY not in captured.out + captured.err
    return code, {finding["name"]: finding for finding in json.loads(captured.out)}


def test_doctor_reports_what_is_in_order(
    provider: UnitaskProvider, config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush@proxy.test:1")
    login(monkeypatch)
    capsys.readouterr()
    provider.answers({"code": 200, "data": ACCOUNT})
    code, found = doctor(capsys)
    assert code == 0
    assert {finding["level"] for finding in found.values()} == {"ok"}
    assert found.keys() >= {"version", "base URL", "key", "proxy", "provider", "clock", "balance", "extra"}
    assert str(config_file) in found["key"]["words"]
    assert found["proxy"]["words"] == "http://***@proxy.test:1"
    assert found["balance"]["words"] == "$3.5"


LATE = httpx.Response(200, headers={"date": "Wed, 01 Jan 2025 00:00:00 GMT"}, json={"code": 200, "data": ACCOUNT})
DOCTOR: dict[str, tuple[dict[str, str], Any, int, str, str, str]] = {
    "no key": ({"UNITASK_API_KEY": ""}, None, 4, "key", "fail", "unitask login"),
    "damaged key": ({"UNITASK_API_KEY": "two words"}, None, 2, "key", "fail", "copy it again"),
    "wrong key": ({}, httpx.Response(401), 4, "key", "fail", "Check the key: UNITASK_API_KEY\n"),
    "wrong balance": ({}, {"code": 200, "data": {"equivalent_in_usd": [1]}}, 8, "provider", "fail", "not a number"),
    "no answer": ({}, httpx.ConnectError("refused"), 8, "provider", "fail", "https://provider.test"),
    "no sandbox": (
        {"UNITASK_BASE_URL": "http://127.0.0.1:1"},
        httpx.ConnectError("refused"),
        8,
        "provider",
        "fail",
        "`unitask sandbox`",
    ),
    "base URL": ({"UNITASK_BASE_URL": "https://a.test/api/v1"}, None, 2, "base URL", "fail", "leave out /api/v1"),
    "proxy": ({"HTTPS_PROXY": "ftp://a.test"}, None, 2, "proxy", "fail", "HTTPS_PROXY"),
    "clock": ({}, LATE, 0, "clock", "warn", "set the clock"),
    "balance": ({}, {"code": 200, "data": {"equivalent_in_usd": 0}}, 0, "balance", "warn", "top up"),
}


@pytest.mark.parametrize("case", DOCTOR)
def test_doctor_names_what_is_wrong_and_the_next_step(
    case: str, provider: UnitaskProvider, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    variables, reply, code, name, level, words = DOCTOR[case]
    for variable, value in {"UNITASK_API_KEY": KEY, **variables}.items():
        monkeypatch.setenv(variable, value)
    if reply is not None:
        provider.answers(reply)
    found_code, found = doctor(capsys)
    assert found_code == code
    assert found[name]["level"] == level
    assert words in f"{found[name]['words']}\n{found[name]['next_step']}"


@pytest.mark.parametrize(
    ("installed", "warnings"),
    [
        (("typer", "textual-image", "pillow"), []),  # pillow came with textual-image
        (("typer", "textual-image", "brotli", "httptools", "hypothesis", "pytest", "pyyaml", "unitask-sandbox",
          "zstandard"), ["[testing] lacks schemathesis"]),
    ],
)  # fmt: skip
def test_doctor_warns_of_extras_that_are_not_whole(
    installed: tuple[str, ...], warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "_version", lambda name: "1" if name in installed else "")
    found = list(settings._extras())
    assert [one.words for one in found if one.level == "warn" and "-tts" not in one.words] == warnings
    assert "[cli] textual-image 1, typer 1" in [one.words for one in found]


def test_doctor_warns_of_a_key_that_others_can_read(
    provider: UnitaskProvider, config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    login(monkeypatch)
    config_file.chmod(0o644)
    capsys.readouterr()
    assert main(["doctor"]) == 0
    assert f"`chmod 600 {config_file}`" in capsys.readouterr().out


def test_error_of_each_command_about_the_address_names_it(
    provider: UnitaskProvider, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("UNITASK_API_KEY", KEY)
    provider.down = True
    for words in (
        ["account"],
        ["run", "face-swap", "target_image=https://a.test/1.jpg", "swap_image=https://a.test/2.jpg"],
    ):
        assert main([*words, "--base-url", "http://127.0.0.1:1"]) == 8
        err = capsys.readouterr().err
        assert "http://127.0.0.1:1" in err
        assert "`unitask sandbox`" in err
    assert main(["account", "--base-url", "https://127.0.0.1:1"]) == 8
    assert "the local provider has an http:// address" in capsys.readouterr().err


def test_contract_checks_use_the_stored_key_of_their_base_url(
    monkeypatch: pytest.MonkeyPatch, config_file: Path, capsys: Captured
) -> None:
    with running(Settings(keys={KEY: 10.0})) as url:
        words = ["contract", "--base-url", f"{url}/", "--checks", "keys"]
        assert main(words) == 2
        assert "`unitask login`" in capsys.readouterr().err
        assert login(monkeypatch, "--base-url", url) == 0
        assert main(words) == 0
    config_file.write_text("{")
    assert main(words) == 2
    assert f"{config_file} cannot be read" in capsys.readouterr().err


def test_jobs_of_many_tasks_use_the_stored_key_and_base_url(
    provider: UnitaskProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNITASK_BASE_URL")
    assert main(["config", "--base-url", OTHER]) == 0
    assert login(monkeypatch) == 0
    (tmp_path / "in.csv").write_text("target_image,swap_image\nhttps://me.test/a.jpg,https://me.test/b.jpg\n")
    assert main(["bulk", str(tmp_path / "in.csv"), "--task", "face-swap", "--to", str(tmp_path / "out")]) == 0
    api = [request for request in provider.requests if request.url.startswith(OTHER)]
    assert {request.headers["x-api-key"] for request in api} == {KEY}
    assert len(provider.tasks) == 1
