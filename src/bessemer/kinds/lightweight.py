"""The command that the KFP compiler writes for a lightweight component, read back. Pure.

It installs packages with pip and then runs a program text with ``kfp.dsl.executor_main``. Knowing
the parts, a node may pick an environment that has the packages and start the program at once.
Source of the shape: kfp.dsl.component_factory, 2.0 to 2.17. Anything else is not recognised, and
runs exactly as written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_PIP_GUARD = (
    'if ! [ -x "$(command -v pip)" ]; then python3 -m ensurepip || '
    "python3 -m ensurepip --user || apt-get install python3-pip fi "
    "PIP_DISABLE_PIP_VERSION_CHECK=1 "
)
# use_venv=True: a throw-away environment on top of the image's; the picked one is as good.
_VENV = (
    "export PIP_DISABLE_PIP_VERSION_CHECK=1 tmp=$(mktemp -d) "
    'python3 -m venv "$tmp/venv" --system-site-packages . "$tmp/venv/bin/activate" '
)
_RUN_NEXT = ' && "$0" "$@"'
_PIP_INSTALL = ("python3", "-m", "pip", "install")
_PROGRAM = (
    'program_path=$(mktemp -d) printf "%s" "$0" > "$program_path/ephemeral_component.py" '
    "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main --component_module_path "
    '"$program_path/ephemeral_component.py" "$@"'
)
# Words that the shell would hand on unchanged; all others make the command not ours to read.
_WORD = re.compile(r"""\s*(?:'([^']*)'|"([^"$`\\]*)"|([\w./:=@,+~%-]+)|(&&))""", re.ASCII)
_QUIET = ("--quiet", "-q", "--no-warn-script-location", "--disable-pip-version-check")
_VALUED = {
    "--index-url": "index_urls", "-i": "index_urls",
    "--extra-index-url": "extra_index_urls", "--trusted-host": "trusted_hosts",
}  # fmt: skip


@dataclass(frozen=True)
class Install:
    """One ``pip install``: what, from where, with its dependencies or without."""

    requirements: tuple[str, ...]
    index_urls: tuple[str, ...] = ()
    extra_index_urls: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    no_dependencies: bool = False


@dataclass(frozen=True)
class LightweightCommand:
    """A lightweight component: the installs in order, the program, what it is called with."""

    installs: tuple[Install, ...]
    source: str
    arguments: tuple[str, ...]


def parse(argv: Sequence[str]) -> LightweightCommand | None:
    """The parts of a compiled lightweight component's command, or None if it is something else."""
    installs: tuple[Install, ...] | None = ()
    rest = tuple(argv)
    if len(rest) > 3 and rest[:2] == ("sh", "-c"):
        installs = _parse_installs(rest[2])
        rest = rest[3:]
    if installs is None or len(rest) < 4 or rest[:2] != ("sh", "-ec"):
        return None
    if _squeeze(rest[2]) != _PROGRAM:
        return None
    return LightweightCommand(installs, source=rest[3], arguments=rest[4:])


def _squeeze(script: str) -> str:
    return " ".join(script.split())


def _parse_installs(script: str) -> tuple[Install, ...] | None:
    text = _squeeze(script)
    if not text.startswith(_PIP_GUARD) or not text.endswith(_RUN_NEXT):
        return None
    text = text[len(_PIP_GUARD) : -len(_RUN_NEXT)].replace(_VENV, "")
    installs = []
    for words in _commands(text):
        install = _parse_install(words) if words is not None else None
        if install is None:
            return None
        installs.append(install)
    return tuple(installs)


def _commands(text: str) -> Iterator[list[str] | None]:
    """The words of each command between ``&&``; None where the shell would do more than split."""
    words: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        match = _WORD.match(text, at)
        if match is None or not (match.end() == len(text) or text[match.end()].isspace()):
            yield None
            return
        at = match.end()
        if match[4]:
            # The compiler leaves one "&&" too many around the venv lines.
            if words:
                yield words
            words = []
        else:
            words.append(next(group for group in match.groups() if group is not None))
    if words:
        yield words


def _parse_install(words: Sequence[str]) -> Install | None:
    if tuple(words[:4]) != _PIP_INSTALL:
        return None
    requirements: list[str] = []
    options: dict[str, list[str]] = {name: [] for name in _VALUED.values()}
    no_dependencies = False
    rest = iter(words[4:])
    for word in rest:
        name, has_value, value = word.partition("=")
        if word == "--no-deps":
            no_dependencies = True
        elif name in _VALUED:
            options[_VALUED[name]].append(value if has_value else next(rest, ""))
        elif not word.startswith("-"):
            requirements.append(word)
        elif word not in _QUIET:
            return None
    given = {name: tuple(values) for name, values in options.items()}
    return Install(tuple(requirements), no_dependencies=no_dependencies, **given)
