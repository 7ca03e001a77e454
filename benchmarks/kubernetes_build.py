"""Upstream's kube-apiserver, etcd and kubectl, built from their Go modules into .work/kubernetes.

``python benchmarks/kubernetes_build.py``. The first time costs 7 minutes of two cores, a later
one nothing: what the same Go built from the same go.sum is left alone. Without Go on the machine
it says so in one line and exits with 1.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "kubernetes"
WORK = HERE / ".work" / "kubernetes"
#: A program, the folder of its go.mod, its package. kubectl first: it is the one that tests want.
PROGRAMS = (
    ("kubectl", SOURCES, "k8s.io/kubernetes/cmd/kubectl"),
    ("etcd", SOURCES / "etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", SOURCES, "k8s.io/kubernetes/cmd/kube-apiserver"),
)
VERSION_VARIABLE = "k8s.io/component-base/version.gitVersion"


class NoPeerError(Exception):
    """The programs can't be had here; the text is the reason."""


def build() -> Path:
    """The folder with the programs, built now where they are not there yet.

    Raises NoPeerError where there is no Go, or it can't build them.
    """
    if not (go := shutil.which("go")):
        raise NoPeerError("no program go in PATH")
    WORK.mkdir(parents=True, exist_ok=True)
    compiler = _ask(go, SOURCES, "version")
    for name, folder, package in PROGRAMS:
        mark, program = WORK / f"{name}.built", WORK / name
        wanted = hashlib.sha256(compiler.encode() + (folder / "go.sum").read_bytes()).hexdigest()
        if program.exists() and mark.exists() and mark.read_text() == wanted:
            continue
        print(f"building {name} by go; all three take 7 minutes of two cores, once", flush=True)
        release = _ask(go, folder, "list", "-m", "-f", "{{.Version}}", _module(package))
        link = f"-s -w -X {VERSION_VARIABLE}={release}"
        _ask(go, folder, "build", "-trimpath", "-ldflags", link, "-o", str(program), package)
        mark.write_text(wanted)
    return WORK


def version(name: str) -> str:
    """What a program that was built says of itself, in one line."""
    done = subprocess.run([WORK / name, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def _module(package: str) -> str:
    return package.split("/cmd/")[0]


def _ask(go: str, folder: Path, *arguments: str) -> str:
    # The Go that is there, never one fetched for a go line; static programs, as upstream ships.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    done = subprocess.run(
        [go, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise NoPeerError(f"go {arguments[0]} failed: {told}")
    return done.stdout.strip()


def main() -> int:
    try:
        print(build())
    except NoPeerError as error:
        print(f"kube-apiserver and etcd are left out: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
