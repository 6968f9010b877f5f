"""The key and the base URL of the command line, and where each comes from.

The environment wins over what `unitask login` and `unitask config` have stored. A stored key is sent only to the base
URL for which it was stored. The library itself reads nothing of this.
"""

import contextlib
import importlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from .. import errors
from .._environment import DEFAULT_BASE_URL, checked_base_url
from .._model._json import as_object, is_object
from .._model.secret import Secret
from ._report import NoKey

KEY_VARIABLES = ("UNITASK_API_KEY", "PIAPI_API_KEY")  # the first one wins
KEYRING = "the keyring of the system"
_SERVICE = "unitask"  # the name of our entries in a keyring


class Setting(NamedTuple):
    """A value that is in force, and where it comes from."""

    value: str
    source: str


def config_file() -> Path:
    """Return the file of the stored settings."""
    return folder("XDG_CONFIG_HOME", ".config") / "config.json"


def folder(variable: str, usual: str) -> Path:
    """Return our folder in the one that a variable names, else in `usual` in the home folder."""
    try:
        return Path(os.environ.get(variable) or Path.home() / usual) / "unitask"
    except RuntimeError:  # a user without a home folder
        raise errors.InvalidInput(f"there is no home folder: set {variable} to a folder that can be written") from None


def base_url(given: str | None = None) -> Setting:
    """Return the base URL: as given, else of the environment, else the stored one, else the live API."""
    if given:
        return Setting(checked_base_url(given), "--base-url")
    if os.environ.get("UNITASK_BASE_URL"):
        return Setting(checked_base_url(None), "UNITASK_BASE_URL")
    stored = _stored().get("base_url")
    if isinstance(stored, str):
        return Setting(checked_base_url(stored), str(config_file()))
    return Setting(DEFAULT_BASE_URL, "the default")


def api_key(url: str) -> Setting | None:
    """Return the key for a base URL; None if there is none."""
    if name := key_variable():
        return Setting(Secret(os.environ[name]), name)
    keys = as_object(_stored().get("keys"))
    if url not in keys:
        return None
    if isinstance(keys[url], str):
        return Setting(Secret(keys[url]), str(config_file()))
    try:
        key = importlib.import_module("keyring").get_password(_SERVICE, url)
    except Exception as error:  # a backend may raise anything
        reason = f"{KEYRING}, which holds the key for {url}, cannot be read: {error}"
        raise errors.InvalidInput(f"{reason}. Unlock it, or set {KEY_VARIABLES[0]}") from error
    return Setting(Secret(key), KEYRING) if key else None


def key_variable() -> str | None:
    """Return the variable of the environment that holds a key; None if there is none."""
    return next((name for name in KEY_VARIABLES if os.environ.get(name)), None)


def account(given: str | None = None) -> tuple[str, str]:
    """Return the key and the base URL that are in force, the first arguments of a client; raise NoKey without a key."""
    url = base_url(given).value
    key = api_key(url)
    if key is None:
        raise NoKey(url, given)
    return key.value, url


def store_key(url: str, key: str) -> str:
    """Store the key for a base URL, in the keyring if there is one, else in the file; return where."""
    ring, stored = _keyring(), _stored()
    kept = None
    if ring is None:
        kept = str(key)
    else:
        try:
            ring.set_password(_SERVICE, url, str(key))
        except Exception:  # it is locked, for example
            ring, kept = None, str(key)
    _store({**stored, "keys": {**as_object(stored.get("keys")), url: kept}})
    return KEYRING if ring else str(config_file())


def forget_key(url: str) -> bool:
    """Remove the stored key for a base URL; return whether there was one."""
    stored = _stored()
    keys = dict(as_object(stored.get("keys")))
    if url not in keys:
        return False
    if keys.pop(url) is None:
        with contextlib.suppress(Exception):  # it is not there any more, or there is no keyring
            importlib.import_module("keyring").delete_password(_SERVICE, url)
    _store({**stored, "keys": keys})
    return True


def store_base_url(url: str | None) -> None:
    """Store the base URL; None removes it."""
    stored = {name: value for name, value in _stored().items() if name != "base_url"}
    _store(stored if url is None else {**stored, "base_url": checked_base_url(url)})


def _keyring() -> Any:
    """Return the library keyring; None if it is not installed, or has no backend."""
    try:
        ring = importlib.import_module("keyring")
        return ring if ring.get_keyring().priority >= 1 else None  # less: a plain file, or nothing
    except Exception:  # of a backend
        return None


def _stored() -> dict[str, Any]:
    """Return what is stored; raise InvalidInput if it cannot be read."""
    file = config_file()
    try:
        content: Any = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise errors.InvalidInput(f"{file} cannot be read: {error}. Correct it, or delete it") from error
    if not is_object(content):
        raise errors.InvalidInput(f"{file} is not a JSON object. Correct it, or delete it")
    return content


def _store(content: dict[str, Any]) -> None:
    """Replace the file at once; only its owner can read it."""
    file = config_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=file.parent)  # of mode 600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(content, stream, indent=2)
            Path(name).replace(file)
        except BaseException:  # nothing of the key is left behind
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise errors.UnitaskError(f"{file} cannot be written: {error.strerror or error}") from error
