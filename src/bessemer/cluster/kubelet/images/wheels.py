"""Packages come into an environment without any of their code being run.

A pod's owner names them, but the server puts them there, ahead of the pod and with its own
rights. So only wheels are taken, by name or from the web, for a source distribution's build is a
program; and the environment's own Python does not run before a pod runs it in its sandbox, for a
package's ``.pth`` file would be a program too. What needs more, a pod installs for itself.
What then lies in the environment is ``inspection``'s to judge.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from bessemer.cluster.kubelet.errors import BuildFailure, PodInstalls
from bessemer.kinds.lightweight import Install

# PEP 508: a name, extras, then a version or where on the web it is.
_NAMED = re.compile(r"[A-Za-z0-9][\w.-]*\s*(\[[\w.,\s-]*\])?\s*([<>=!~;(].*)?", re.ASCII)
_FROM_WEB = re.compile(
    r"[A-Za-z0-9][\w.-]*\s*(\[[\w.,\s-]*\])?\s*@\s*https?://\S+(\s*;.*)?", re.ASCII
)
_URL = re.compile(r"https?://[^\s;]+", re.ASCII | re.IGNORECASE)
# A name that uv would take for a file's.
_FILE = re.compile(r"\.(whl|zip|tar|tgz|tbz|txz|gz|bz2|xz|lzma|zst)\b")
_WEB = ("http", "https")
# What uv says where a source distribution would have to be built.
_BUILD_NEEDED = ("has no usable wheels", "Building source distributions is disabled",
                 "building from source is disabled")  # fmt: skip
_SHEBANG = b"#!"
_MOST_SHEBANG = 4096  # bytes
_MOST_NAME = 255


def check(install: Install) -> None:
    """Refuse what would read the server's files.

    Raises:
        PodInstalls: a requirement or an index is neither a name nor on the web.
    """
    for requirement in install.requirements:
        is_named = _NAMED.fullmatch(requirement) and not _FILE.search(requirement.split(";")[0])
        if not is_named and not _FROM_WEB.fullmatch(requirement):
            raise PodInstalls(f"{requirement!r} is neither a name nor on the web")
    for url in (*install.index_urls, *install.extra_index_urls):
        if urlsplit(url).scheme not in _WEB:
            raise PodInstalls(f"the index {url!r} is not on the web")


def is_unproven(install: Install) -> bool:
    """Whether nothing proves where its packages come from: a line without TLS, or this machine.

    What such an address gives depends on who listens there, and a pod of anybody's may.
    """
    if install.trusted_hosts:
        return True
    urls = [*install.index_urls, *install.extra_index_urls]
    urls += [url for each in install.requirements for url in _URL.findall(each)]
    return any(_is_unproven(urlsplit(url)) for url in urls)


def _is_unproven(url: SplitResult) -> bool:
    host = url.hostname or ""
    if url.scheme != "https" or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_arguments(install: Install, python: Path, environment: Path) -> list[str]:
    """Uv's command line for a pip install."""
    words = ["pip", "install", "--no-build", "--python", str(python), "--prefix", str(environment)]
    if install.no_dependencies:
        words.append("--no-deps")
    for url in install.index_urls:
        words += ["--default-index", url]
    for url in install.extra_index_urls:
        words += ["--index", url]
    for host in install.trusted_hosts:
        parts = urlsplit(host)
        words += ["--allow-insecure-host", parts.netloc if parts.scheme else host]
    return [*words, "--", *install.requirements]


def explain(failure: BuildFailure) -> BuildFailure:
    """The same failure, or that the pod can do what we don't."""
    needs_build = any(words in str(failure) for words in _BUILD_NEEDED)
    return PodInstalls(str(failure)) if needs_build else failure


def find_packages(environment: Path) -> Path:
    """Its site-packages, before any package could bring a second folder of that kind."""
    return next(environment.glob("lib/python3*/site-packages"))


def make_compilation(python: Path, packages: Path) -> list[str]:
    """The command that compiles what was installed: the base Python, which loads nothing of it."""
    jobs = str(os.cpu_count())
    return [str(python), "-I", "-S", "-m", "compileall", "-q", "-j", jobs, str(packages)]


def own_scripts(environment: Path, python: Path) -> None:
    """Have the packages' programs run in the environment: uv wrote the base Python into them."""
    base = {str(python), str(python.resolve())}
    own = str(environment / "bin" / "python")
    for script in (environment / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        with script.open("rb") as file:
            first = file.readline(_MOST_SHEBANG)
            if not first.startswith(_SHEBANG) or os.fsdecode(first[2:].strip()) not in base:
                continue
            draft = script.with_name(f".{script.name}.new"[-_MOST_NAME:])
            with draft.open("wb") as changed:
                changed.write(_SHEBANG + os.fsencode(own) + b"\n")
                shutil.copyfileobj(file, changed)
            draft.chmod(script.stat().st_mode & 0o777)
        draft.replace(script)  # it may be one file with uv's cache
