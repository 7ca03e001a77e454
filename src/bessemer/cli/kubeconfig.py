"""``bessemer kubeconfig``: how clients reach the running one, printed or merged into a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from bessemer.app import folder
from bessemer.base.errors import BessemerError
from bessemer.base.home import Home
from bessemer.cli import access, options

_USERS_OWN = Path("~/.kube/config")
_PARTS = ("clusters", "users", "contexts")


class Unmergeable(BessemerError):
    """The user's kubeconfig is not one that a context can be added to."""


def command(
    merge: Annotated[  # noqa: FBT002 - typer's form of a flag
        bool,
        typer.Option("--merge", help="Add it as a context to your own kubeconfig."),
    ] = False,
    use: Annotated[  # noqa: FBT002 - typer's form of a flag
        bool, typer.Option("--use", help="With --merge: make it the current context.")
    ] = False,
    home: options.Home = folder.DEFAULT,
    verbose: options.Verbose = False,  # noqa: ARG001, FBT002, RUF100 - every command takes it
) -> None:
    """Print the kubeconfig, or merge it into the first file of $KUBECONFIG or ~/.kube/config."""
    running = access.Running(home)
    text = running.home.kubeconfig.read_text()
    if not merge:
        typer.echo(text, nl=False)
        return
    name = context_name(running.home)
    target = _target(running.home)
    merged = join(_read(target), rename(yaml.safe_load(text), name), use=use)
    _write(target, yaml.safe_dump(merged, sort_keys=False))
    typer.echo(f"context {name} is in {target}")
    if merged["current-context"] != name:
        typer.echo(f"it becomes the current one by `kubectl config use-context {name}`")


def context_name(home: Home) -> str:
    """What the context of a home is called: those of several homes lie in one file."""
    is_default = home.root == folder.locate(folder.DEFAULT).root
    return "bessemer" if is_default else f"bessemer-{home.root.name.removeprefix('.')}"


def rename(config: dict[str, Any], name: str) -> dict[str, Any]:
    """A kubeconfig of one cluster, user and context with all three called ``name``."""
    (cluster,), (user,), (context,) = (config[part] for part in _PARTS)
    of_context = {**context["context"], "cluster": name, "user": name}
    return {
        "clusters": [{**cluster, "name": name}],
        "users": [{**user, "name": name}],
        "contexts": [{"name": name, "context": of_context}],
        "current-context": name,
    }


def join(into: dict[str, Any], added: dict[str, Any], *, use: bool) -> dict[str, Any]:
    """The user's kubeconfig with the added entries in place of those of the same names.

    The current context stays unless there is none or ``use`` asks for the new one. All else in
    the user's file is kept, as ``kubectl config`` keeps it.
    """
    joined = {"apiVersion": "v1", "kind": "Config", **into}
    for part in _PARTS:
        names = {entry["name"] for entry in added[part]}
        kept = [entry for entry in into.get(part) or () if entry.get("name") not in names]
        joined[part] = [*kept, *added[part]]
    if use or not into.get("current-context"):
        joined["current-context"] = added["current-context"]
    return joined


def _target(home: Home) -> Path:
    """The user's own file: as kubectl chooses it, but never the home's, which ``env`` names."""
    named = [Path(entry) for entry in os.environ.get("KUBECONFIG", "").split(os.pathsep) if entry]
    for path in (*named, _USERS_OWN):
        # A link is followed: what is replaced is the file, and the link goes on leading to it.
        found = path.expanduser().resolve()
        if found != home.kubeconfig.resolve():
            return found
    return _USERS_OWN.expanduser().resolve()


def _read(target: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(target.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Unmergeable(_REFUSED.format(target, f"({str(error).splitlines()[0]})")) from error
    found = {} if found is None else found
    if not isinstance(found, dict) or not all(_has_entries(found.get(part)) for part in _PARTS):
        raise Unmergeable(_REFUSED.format(target, "(its clusters, users or contexts)"))
    return found


def _has_entries(part: object) -> bool:
    """Whether a part of a kubeconfig is what others can be added to: absent or a list of maps."""
    return part is None or (
        isinstance(part, list) and all(isinstance(entry, dict) for entry in part)
    )


_REFUSED = (
    "{} must be a kubeconfig to take a context, but isn't one that can be read {}; mend it, or "
    "name another file in KUBECONFIG"
)


def _write(target: Path, text: str) -> None:
    """Replace the file at once or not at all; nobody but its owner can read it: it has a token."""
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = target.with_name(f"{target.name}.bessemer-{os.getpid()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        raise Unmergeable(
            f"{target} must be a file that you can write, but {error.strerror}; make it so, or "
            "name another file in KUBECONFIG"
        ) from error
