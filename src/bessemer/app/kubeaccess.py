"""How we get at a Kubernetes API that is not our own: kubeconfigs, a pod's identity, logins.

Source: client-go tools/clientcmd, rest/config.go (InClusterConfig), transport/token_source.go,
plugin/pkg/client/auth/exec; client.authentication.k8s.io/v1.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from bessemer.base.clock import Clock, parse_time
from bessemer.base.errors import BessemerError
from bessemer.kube.http import Credentials, HttpClient, StaticToken

# Where a pod finds its own identity.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# A projected token is renewed long before it ends: how often its file is looked at.
_REREAD_SECONDS = 60.0
# A login may open a browser for a person, who has as long.
_LOGIN_SECONDS = 120.0
# What a user may have that would have us act as somebody else, or is gone from Kubernetes.
_REFUSED = {"username", "password"}
_LOGIN_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_LONGEST_WORDS = 500  # of a failed login, in its error


class FileToken:
    """A token in a file that somebody renews."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._token = ""
        self._read_at: float | None = None

    async def token(self) -> str:
        """See ``Credentials``.

        Raises:
            OSError: it can't be read, and never could.
        """
        now = self._clock.monotonic()
        if self._read_at is None or now >= self._read_at + _REREAD_SECONDS:
            try:
                self._token = (await asyncio.to_thread(self._path.read_text)).strip()
            except OSError:
                if not self._token:  # the last one may count yet
                    raise
            self._read_at = now
        return self._token

    def reject(self, token: str) -> bool:
        """See ``Credentials``; the file may have the next one."""
        self._read_at = None
        return True


class ExecToken:
    """A token that a program of the user's gives (``aws eks get-token`` and the like)."""

    def __init__(self, login: Mapping[str, Any], clock: Clock) -> None:
        version = login.get("apiVersion")
        if version not in _LOGIN_VERSIONS:
            raise BessemerError(
                f"a login by exec must be of one of {', '.join(_LOGIN_VERSIONS)}, but got "
                f"{version!r}; update the kubeconfig by the program that wrote it"
            )
        if login.get("interactiveMode") == "Always":
            raise BessemerError(
                f"the login {login.get('command')!r} wants to ask a person (interactiveMode: "
                "Always), but nobody sits here; use a token or a client certificate"
            )
        self._login = login
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = ""
        self._expires_at: float | None = None  # wall time, for so it is told

    async def token(self) -> str:
        """See ``Credentials``.

        Raises:
            BessemerError: the program failed, or told no token.
        """
        async with self._lock:  # one login at a time
            now = self._clock.now().timestamp()
            if not self._token or (self._expires_at is not None and now >= self._expires_at):
                status = await self._ask()
                self._token = str(status["token"])
                told = status.get("expirationTimestamp")
                self._expires_at = parse_time(told).timestamp() if told else None
            return self._token

    def reject(self, token: str) -> bool:
        """See ``Credentials``; the program is asked again."""
        if token == self._token:
            self._token = ""
        return True

    async def _ask(self) -> Mapping[str, Any]:
        login = self._login
        version = login["apiVersion"]
        asked = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
        given = {one["name"]: one["value"] for one in login.get("env") or ()}
        env = {**os.environ, **given, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
        command = [login["command"], *(login.get("args") or ())]
        try:
            program = await asyncio.create_subprocess_exec(
                *command, env=env, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
            )
        except OSError as error:
            hint = login.get("installHint", "")
            raise BessemerError(
                f"the login {command[0]!r} can't be run: {error}. {hint}"
            ) from error
        try:
            async with asyncio.timeout(_LOGIN_SECONDS):
                out, err = await program.communicate()
        except TimeoutError:
            program.kill()
            await program.wait()
            raise BessemerError(
                f"the login {command[0]!r} must end within {_LOGIN_SECONDS:.0f} s, but did not"
            ) from None
        if program.returncode:
            words = err.decode(errors="replace").strip()[-_LONGEST_WORDS:]
            raise BessemerError(f"the login {command[0]!r} failed ({program.returncode}): {words}")
        return _read_credential(command[0], out, version)


def _read_credential(command: str, out: bytes, version: str) -> Mapping[str, Any]:
    try:
        found = json.loads(out)
        status = found["status"]
        if found["apiVersion"] == version and status["token"]:
            return cast("Mapping[str, Any]", status)
    except (ValueError, KeyError, TypeError):
        pass
    raise BessemerError(
        f"the login {command!r} must print an ExecCredential of {version} with a token, but "
        f"printed {out[:_LONGEST_WORDS]!r}; client certificates by exec are not supported"
    )


def from_kubeconfig(config: Mapping[str, Any], clock: Clock) -> HttpClient:
    """A client for the current context of a kubeconfig (already parsed).

    Raises:
        BessemerError: it names what it does not have, or wants a login that we don't do.
        OSError: a file that it names can't be read.
    """
    context = _named(config, "contexts", "context", config.get("current-context", ""))
    cluster = _named(config, "clusters", "cluster", context.get("cluster", ""))
    user = _named(config, "users", "user", context.get("user", ""))
    if unknown := sorted({key for key in user if key.startswith("as")} | (user.keys() & _REFUSED)):
        raise BessemerError(
            f"the kubeconfig's user {context.get('user')!r} asks for {', '.join(unknown)}, which "
            "is not supported: use a token, a client certificate or exec of the account itself"
        )
    if "auth-provider" in user:
        raise BessemerError(
            f"the kubeconfig's user {context.get('user')!r} logs in by auth-provider, which "
            "Kubernetes 1.26 gave up: use a token, a client certificate or exec"
        )
    tls = _trust(cluster)
    if certificate := _material(user, "client-certificate"):
        _present(tls, certificate, _material(user, "client-key"))
    return HttpClient(cluster["server"], _credentials(user, clock), tls, clock)


def from_pod(clock: Clock, folder: Path = SERVICE_ACCOUNT) -> HttpClient:
    """A client as the service account of the pod that we run in."""
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    port = os.environ["KUBERNETES_SERVICE_PORT"]
    tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return HttpClient(server, FileToken(folder / "token", clock), tls, clock)


def _credentials(user: Mapping[str, Any], clock: Clock) -> Credentials:
    if token := user.get("token"):
        return StaticToken(token)
    if file := user.get("tokenFile"):
        return FileToken(Path(file), clock)
    if login := user.get("exec"):
        return ExecToken(login, clock)
    return StaticToken("")


def _named(config: Mapping[str, Any], section: str, key: str, name: str) -> Mapping[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            return cast("Mapping[str, Any]", entry.get(key) or {})
    raise BessemerError(f"the kubeconfig has no entry {name!r} in {section}: name one that it has")


def _trust(cluster: Mapping[str, Any]) -> ssl.SSLContext:
    ca = _material(cluster, "certificate-authority")
    tls = ssl.create_default_context(cadata=ca.decode() if ca else None)
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return tls


def _material(entry: Mapping[str, Any], key: str) -> bytes:
    if data := entry.get(f"{key}-data"):
        return base64.b64decode(data)
    return Path(entry[key]).read_bytes() if entry.get(key) else b""


def _present(tls: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # The ssl module takes files only; the folder is ours alone and goes at once.
    with tempfile.TemporaryDirectory() as folder:
        chain = Path(folder) / "client.pem"
        chain.touch(mode=0o600)
        chain.write_bytes(certificate + b"\n" + key)
        tls.load_cert_chain(chain)
