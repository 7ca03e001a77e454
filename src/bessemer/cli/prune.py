"""``bessemer prune``: delete what can be made again, or nobody needs; say what that freed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bessemer.app import folder
from bessemer.base import lazily, trees
from bessemer.base.home import Home
from bessemer.cli import options, output
from bessemer.cluster.kubelet.runtime import rotation

if TYPE_CHECKING:
    from bessemer.app import objects
else:  # it brings the API server's store, which is heavy and which no other command needs
    objects = lazily.module("bessemer.app.objects")


@dataclass(frozen=True)
class Mode:
    """How it goes about it."""

    is_dry: bool  # say what would be deleted, and delete nothing
    is_verbose: bool


class Freed(NamedTuple):
    """What was, or would be, deleted of one sort."""

    what: str
    number: int
    bytes: int


def command(
    home: options.Home = folder.DEFAULT,
    dry_run: Annotated[  # noqa: FBT002 - typer's form of a flag
        bool, typer.Option("--dry-run", help="List what would be deleted; delete nothing.")
    ] = False,
    format_: options.Output = options.Format.TABLE,
    verbose: options.Verbose = False,  # noqa: FBT002 - typer's form of a flag
) -> None:
    """Delete caches, environments that nothing uses, and what ended pods left, their logs too."""
    place = folder.locate(home)
    try:
        if not place.version_file.exists():
            typer.echo(f"nothing to prune: {place.root} is no home", err=True)
            if format_ is options.Format.JSON:
                output.records([], Freed._fields)
            return
        folder.judge(place)
        table = _prune(place, Mode(dry_run, verbose or dry_run))
    except OSError as error:
        raise folder.unusable(place, error) from error
    if format_ is options.Format.JSON:
        output.records(table, Freed._fields)
        return
    heads = ("WOULD BE DELETED", "COUNT", "FREES") if dry_run else ("WHAT", "DELETED", "FREED")
    output.rows([(one.what, str(one.number), output.size(one.bytes)) for one in table], heads)


def _prune(home: Home, mode: Mode) -> list[Freed]:
    # Held, so that nobody starts pods in what is being deleted.
    lock = folder.Lock(home)
    try:
        folder.check_whole(home)
        folder.make_room(home)
        caches = _delete("caches", [*home.cache.glob("*"), *home.spares.glob("*")], mode)
        # After the caches: on a full disk they have made the room that reading the objects takes.
        known = objects.read(home)
        used = known.environments
        return [
            caches,
            _delete("environments", _unused_environments(home, used), mode),
            _delete("ended pods", _ended_pods(home, known.live), mode),
            _delete("old logs", _old_logs(home, known.live), mode),
        ]
    finally:
        lock.release()


def _delete(what: str, paths: Iterable[Path], mode: Mode) -> Freed:
    count = freed = 0
    for path in list(paths):
        count, freed = count + 1, freed + _size(path)
        if mode.is_verbose:
            typer.echo(f"{'would delete' if mode.is_dry else 'deleting'} {path}", err=True)
        if not mode.is_dry:
            trees.remove(path)
    return Freed(what, count, freed)


def _size(path: Path) -> int:
    """Bytes on the disk; files with several links count once in each place."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return trees.measure(path)


def _unused_environments(home: Home, used: set[Path]) -> Iterator[Path]:
    """Pods of a control plane that was killed may still run in some of them."""
    running = [_read_spec(attempt) for attempt in folder.running_attempts(home)]
    for path in home.environments.glob("*"):
        if path.name.startswith(".") and home.environments / path.name[1:].split(".")[0] in used:
            continue  # the lock of its build
        if path in used or any(json.dumps(str(path))[1:-1] in text for text in running):
            continue
        yield path


def _read_spec(attempt: Path) -> str:
    """What an attempt runs; empty when nothing of it can be told."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return Path(json.loads((attempt / "started").read_text())["spec"]).read_text()
    return ""


def _ended_pods(home: Home, live: set[str]) -> Iterator[Path]:
    """Folders of pods that ended, and of those that no object knows any more."""
    running = {attempt.parents[2] for attempt in folder.running_attempts(home)}
    for path in home.pods.glob("*"):
        if path not in running and path.name not in live:
            yield path


def _old_logs(home: Home, live: set[str]) -> Iterator[Path]:
    """Of the pods that go on: all but the newest file of each log that is written no more."""
    running = set(folder.running_attempts(home))
    for uid in live:
        for attempt in (home.pods / uid / "containers").glob("*/*"):
            if attempt not in running:
                yield from list(rotation.files(attempt).values())[:-1]
