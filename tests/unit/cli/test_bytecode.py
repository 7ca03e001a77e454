"""A start never compiles everything twice, wherever Python may keep bytecode."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from bessemer.base.home import Home
from bessemer.cli import up


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The program as uv installs it (not compiled), where PYTHONDONTWRITEBYTECODE is set."""
    monkeypatch.setattr(up, "__file__", str(tmp_path / "up.py"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_all_homes_share_the_users_cache(forbidden: Path) -> None:
    up.keep_bytecode(Home(forbidden / "home"))

    place = forbidden / "cache" / "bessemer" / "bytecode"
    assert sys.pycache_prefix == str(place)
    assert not sys.dont_write_bytecode
    assert place.stat().st_mode & 0o777 == 0o700


def test_without_a_cache_of_the_user_the_homes_own_does(forbidden: Path) -> None:
    (forbidden / "cache").touch()
    home = Home(forbidden / "home")

    up.keep_bytecode(home)

    assert sys.pycache_prefix == str(home.cache / "bytecode")


def test_what_the_installer_compiled_is_used_as_it_is(forbidden: Path) -> None:
    compiled = Path(importlib.util.cache_from_source(str(forbidden / "up.py")))
    compiled.parent.mkdir()
    compiled.touch()

    up.keep_bytecode(Home(forbidden / "home"))

    assert sys.pycache_prefix is None
    assert sys.dont_write_bytecode
