"""``bessemer prune``: delete what can be made again, or nobody needs; say what that freed."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import typer

from bessemer.app import folder
from bessemer.base.home import Home
from bessemer.cli import options, output

_ENDED = ("Succeeded", "Failed")


def command(
    home: options.Home = folder.DEFAULT,
    verbose: options.Verbose = False,  # noqa: FBT002 - typer's form of a flag
) -> None:
    """Delete environments, caches and what ended pods left, their logs too."""
    place = folder.locate(home)
    try:
        if not place.version_file.exists():
            typer.echo(f"nothing to prune: {place.root} is no home")
            return
        folder.judge(place)
        table = _prune(place, verbose=verbose)
    except OSError as error:
        raise folder.unusable(place, error) from error
    output.rows(table, ("WHAT", "DELETED", "FREED"))


def _prune(home: Home, *, verbose: bool) -> list[tuple[str, str, str]]:
    # Held, so that nobody starts pods in what is being deleted.
    lock = folder.Lock(home)
    try:
        # Pods last: on a full disk the rest makes the room which reading the objects needs.
        return [
            _delete("environments", _unused_environments(home), verbose=verbose),
            _delete("caches", home.cache.glob("*"), verbose=verbose),
            _delete("ended pods", _ended_pods(home), verbose=verbose),
        ]
    finally:
        lock.release()


def _delete(what: str, paths: Iterator[Path], *, verbose: bool) -> tuple[str, str, str]:
    count = freed = 0
    for path in list(paths):
        count, freed = count + 1, freed + _size(path)
        if verbose:
            typer.echo(f"deleting {path}", err=True)
        shutil.rmtree(path) if _is_folder(path) else path.unlink()
    return what, str(count), output.size(freed)


def _size(path: Path) -> int:
    """Bytes on the disk; files with several links count once in each place."""
    if not _is_folder(path):
        return path.lstat().st_size
    return sum(
        os.lstat(os.path.join(root, name)).st_blocks * 512
        for root, _, names in os.walk(path)
        for name in names
    )


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _attempts(home: Home) -> Iterator[Path]:
    """The folders of all container attempts that have begun and not ended."""
    for started in home.pods.glob("*/containers/*/*/started"):
        if not (started.parent / "exit").exists():
            yield started.parent


def _unused_environments(home: Home) -> Iterator[Path]:
    """Pods of a control plane that was killed may still run in some of them."""
    running = [_read_spec(attempt) for attempt in _attempts(home)]
    for path in home.environments.glob("*"):
        if not any(json.dumps(str(path))[1:-1] in text for text in running):
            yield path


def _read_spec(attempt: Path) -> str:
    """What an attempt runs; empty when nothing of it can run: the machine has started since."""
    try:
        return Path(json.loads((attempt / "started").read_text())["spec"]).read_text()
    except (OSError, ValueError, KeyError):
        return ""


def _ended_pods(home: Home) -> Iterator[Path]:
    """Folders of pods that ended, and of those that no object knows any more."""
    # By name: the API server's store is heavy, and no other command needs it.
    store = importlib.import_module("bessemer.app.objects")
    phases: dict[str, str] = store.read_phases(home)
    alive = {attempt.parents[2] for attempt in _attempts(home)}
    for path in home.pods.glob("*"):
        if path not in alive and phases.get(path.name, _ENDED[0]) in _ENDED:
            yield path
