"""Upstream's kube-apiserver on etcd, for the time of a benchmark: what bench_api compares with.

As users have them: etcd syncs each write to disk; RBAC, validation and the default admission
plugins are on. Data lies in a temporary folder, beside which a Bessemer's home would lie too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import kubernetes_build
import kubernetes_client
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "127.0.0.1"
LIMIT = 60  # seconds to become ready
ADMIN = "admin-of-a-benchmark"


@contextlib.contextmanager
def kubernetes(folder: Path) -> Iterator[kubernetes_client.Server]:
    """Both programs, from ready to the block's end; their data and logs in the folder.

    Raises kubernetes_build.NoPeerError where they can't be had.
    """
    programs = kubernetes_build.build()
    store, peers, port = free_port(), free_port(), free_port()
    with contextlib.ExitStack() as stack:
        etcd = running(folder, programs / "etcd", etcd_flags(folder, store, peers))
        stack.enter_context(etcd)
        flags = apiserver_flags(folder, store, port)
        apiserver = stack.enter_context(running(folder, programs / "kube-apiserver", flags))
        yield wait_ready(apiserver, folder, port)


def versions() -> dict[str, str]:
    """What the programs say that they are."""
    names = ("kube-apiserver", "etcd")
    return {name: kubernetes_build.version(name) for name in names}


def etcd_flags(folder: Path, port: int, peers: int) -> dict[str, str]:
    """One member."""
    own, others = f"http://{HOST}:{port}", f"http://{HOST}:{peers}"
    return {
        "data-dir": str(folder / "etcd-data"),
        "listen-client-urls": own,
        "advertise-client-urls": own,
        "listen-peer-urls": others,
        "initial-advertise-peer-urls": others,
        "initial-cluster": f"default={others}",
    }


def apiserver_flags(folder: Path, store: int, port: int) -> dict[str, str]:
    """Tokens and RBAC; the certificate is one that it makes itself."""
    key, tokens = folder / "accounts.key", folder / "tokens.csv"
    private = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.TraditionalOpenSSL
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    key.write_bytes(private.private_bytes(pem, form, plain))
    tokens.write_text(f'{ADMIN},admin,admin,"system:masters"\n')
    return {
        "etcd-servers": f"http://{HOST}:{store}",
        "bind-address": HOST,
        "advertise-address": HOST,
        "secure-port": str(port),
        "cert-dir": str(folder / "certificates"),
        "service-cluster-ip-range": "10.96.0.0/16",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": str(key),
        "service-account-signing-key-file": str(key),
        "token-auth-file": str(tokens),
        "authorization-mode": "RBAC",
        "endpoint-reconciler-type": "none",  # its own address is no endpoint that pods may use
    }


@contextlib.contextmanager
def running(
    folder: Path, program: Path, flags: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A program, ended with the block."""
    command = [str(program), *(f"--{name}={value}" for name, value in flags.items())]
    with (folder / f"{program.name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_ready(
    process: subprocess.Popen[bytes], folder: Path, port: int
) -> kubernetes_client.Server:
    """The server, once /readyz says ok; SystemExit with its log if it never does."""
    certificate = folder / "certificates" / "apiserver.crt"
    until = time.perf_counter() + LIMIT
    while time.perf_counter() < until and process.poll() is None:
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
            found = kubernetes_client.server(f"https://{HOST}:{port}", ADMIN, certificate)
            if asyncio.run(is_ready(found)):
                return found
        time.sleep(0.1)
    log = (folder / "kube-apiserver.log").read_text()
    raise SystemExit(f"kube-apiserver did not become ready:\n{log[-2000:]}")


async def is_ready(server: kubernetes_client.Server) -> bool:
    connection = await kubernetes_client.Connection(server).open()
    try:
        status, _ = await connection.ask("GET", "/readyz")
    finally:
        await connection.close_wholly()
    return status == 200


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])
