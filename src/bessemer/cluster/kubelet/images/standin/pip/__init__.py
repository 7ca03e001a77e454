"""A stand-in for pip: satisfied requirements at once, others by uv into the pod's own folder.

The environment is shared by pods and read-only; what a pod installs on top of it is its own.
May import: the standard library only, and runs on Python 3.8+.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata

__version__ = "24.0"  # of the pip whose command line this understands

_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:==\s*([\w.!+-]+))?")
_IGNORED = {
    "--quiet", "-q", "-qq", "--no-warn-script-location", "--disable-pip-version-check",
    "--no-cache-dir", "--no-input", "--user", "--root-user-action=ignore", "--no-color",
    "--progress-bar=off", "--prefer-binary", "--break-system-packages",
}  # fmt: skip
_NAMES = {"-i": "--index-url", "-U": "--upgrade", "-r": "--requirement", "-c": "--constraint"}
_VALUED = {
    "--index-url", "--extra-index-url", "--find-links", "--requirement", "--constraint",
    "--trusted-host", "-f",
}  # fmt: skip
_PLAIN = {"--no-deps", "--pre", "--upgrade", "--no-index"}


def main(arguments: list[str] | None = None) -> int:
    """Run a pip command line; the result is the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in words if not word.startswith("-")), "")
    if command == "install":
        words.remove("install")
        return _install(words)
    if command in ("list", "freeze"):
        return _freeze()
    if command == "show":
        return _show(words[words.index("show") + 1 :])
    if "--version" in words or "-V" in words:
        _say(f"pip {__version__} (stand-in of Bessemer) from {os.path.dirname(__file__)}")
        return 0
    _complain(
        "this stand-in for pip knows install, list, freeze and show, got: " + " ".join(words)
    )
    return 2


def _install(words: list[str]) -> int:
    if _recorded(words):
        return 0
    options: list[str] = []
    requirements: list[str] = []
    rest = iter(words)
    for word in rest:
        name, has_value, value = word.partition("=")
        name = _NAMES.get(name, name) if name.startswith("-") else name
        if word in _IGNORED:
            continue
        if name in _VALUED:
            options += [name, value if has_value else next(rest, "")]
        elif name in _PLAIN:
            options.append(name)
        elif word.startswith("-"):
            _complain(f"this stand-in for pip does not know the option {word}")
            return 2
        else:
            requirements.append(word)
    if not options and requirements and all(_is_satisfied(each) for each in requirements):
        return 0
    return _install_by_uv(options, requirements)


def _recorded(words: list[str]) -> bool:
    """Whether the environment was made for this very command."""
    wanted = [word for word in words if word not in _IGNORED]
    try:
        with open(os.path.join(sys.prefix, ".ready")) as file:
            installs: list[list[str]] = json.load(file).get("pip", [])
    except (OSError, ValueError):
        return False
    return any(sorted(wanted) == sorted(each) for each in installs)


def _is_satisfied(requirement: str) -> bool:
    """Whether a bare or pinned requirement is there; anything harder is uv's to say."""
    match = _PINNED.fullmatch(requirement.strip())
    if match is None or "[" in requirement:
        return False
    try:
        version = metadata.version(match.group(1))
    except metadata.PackageNotFoundError:
        return False
    return match.group(2) in (None, version)


def _install_by_uv(options: list[str], requirements: list[str]) -> int:
    target, uv = os.environ.get("BESSEMER_PACKAGES"), os.environ.get("BESSEMER_UV")
    if not target or not uv or not os.path.exists(uv):
        _complain(
            "these packages are not in the environment, and a pod can't install more here: {}; "
            "name them in packages_to_install".format(" ".join(requirements or options))
        )
        return 1
    command = [uv, "pip", "install", "--quiet", "--target", target, "--python", sys.executable]
    command += _translated(options) + requirements
    # The machine's own certificates: what its owner trusts, pods may.
    return subprocess.call(command, env={"UV_SYSTEM_CERTS": "1", **os.environ})


def _translated(options: list[str]) -> list[str]:
    names = {
        "--trusted-host": "--allow-insecure-host",
        "-f": "--find-links",
        "--pre": "--prerelease=allow",
    }
    return [names.get(option, option) for option in options]


def _freeze() -> int:
    lines = sorted(
        "{}=={}".format(each.metadata["Name"], each.version) for each in metadata.distributions()
    )
    for line in lines:
        _say(line)
    return 0


def _show(names: list[str]) -> int:
    missing = 0
    for name in names:
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            missing = 1
            _complain(f"WARNING: Package(s) not found: {name}")
            continue
        _say("Name: {}\nVersion: {}".format(found.metadata["Name"], found.version))
    return missing


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _complain(line: str) -> None:
    sys.stderr.write("ERROR: " + line + "\n")
