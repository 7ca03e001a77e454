"""Talking to a running Bessemer as any client would: by its ports, its CA and the admin token."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bessemer.app import folder
from bessemer.base.errors import BessemerError
from bessemer.base.home import Home

HOST = "127.0.0.1"
_TIMEOUT = 5.0  # seconds
# Where the pages give a code for a token. As they spell it; their room takes long to import.
_CODES = "/login/codes"


class NotRunning(BessemerError):
    """Nothing runs on the home, or not what a client needs."""


class Refused(BessemerError):
    """The API answered with an error, or not at all."""


class Running:
    """A home that a control plane runs on, seen from outside.

    Raises:
        NotRunning: none does, or the files for clients are not there (yet).
    """

    def __init__(self, path: Path) -> None:
        self.home: Home = folder.locate(path)
        self.pid = folder.holder(self.home)
        if not self.pid:
            raise NotRunning(
                f"no Bessemer runs on home {self.home.root}; start one with "
                f"`bessemer up{folder.option(self.home)}`"
            )
        keys = self.home.keys
        for file in (
            self.home.config, keys / folder.CA, keys / folder.ADMIN_TOKEN, self.home.kubeconfig
        ):  # fmt: skip
            if not file.exists():
                raise NotRunning(
                    f"Bessemer (pid {self.pid}) must have {file}, but that isn't there: "
                    "it is only starting (try again), or the file was deleted (end it and start "
                    "it again)"
                )
        port = folder.read_config(self.home).port
        self.api_port, self.pages_port, self.gateway_port = port, port + 1, port + 2

    @property
    def api(self) -> str:
        """The Kubernetes API's address."""
        return f"https://{HOST}:{self.api_port}"

    @property
    def pages(self) -> str:
        """The pages' and KFP routes' address."""
        return f"http://{HOST}:{self.pages_port}"

    @property
    def gateway(self) -> str:
        """The address of served models."""
        return f"http://{HOST}:{self.gateway_port}"

    @property
    def token(self) -> str:
        """The admin token."""
        try:
            return (self.home.keys / folder.ADMIN_TOKEN).read_text().strip()
        except OSError as error:
            raise folder.unusable(self.home, error) from error

    def read(self, path: str, timeout: float = _TIMEOUT) -> Any:
        """GET from the API and parse.

        Raises:
            Refused: it says no, or nothing.
        """
        with self._answer(path, timeout) as response:
            body = response.read()
            if response.status != 200:
                raise Refused(_message(body, response.status))
            return json.loads(body) if body[:1] in (b"{", b"[") else body.decode()

    def stream(self, path: str) -> Iterator[bytes]:
        """GET from the API, piece by piece, for as long as it lasts.

        Raises:
            Refused: it says no, or nothing, or broke off.
        """
        with self._answer(path, None) as response:
            if response.status != 200:
                raise Refused(_message(response.read(), response.status))
            while piece := response.read1(65536):
                yield piece

    def answers(self, port: int) -> int:
        """The status with which an http port answers; 0 when it doesn't."""
        connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT)
        try:
            connection.request("GET", "/healthz", headers={"Authorization": self._bearer})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def login_link(self, path: str = "/") -> str:
        """An address that signs a browser in to the pages as the admin, once and soon.

        It carries a code, in the fragment that is never sent, and not the token.

        Raises:
            Refused: the pages say no, or nothing.
        """
        connection = http.client.HTTPConnection(HOST, self.pages_port, timeout=_TIMEOUT)
        try:
            connection.request("POST", _CODES, headers={"Authorization": self._bearer})
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"no answer from {self.pages}: {error}; try again") from error
        finally:
            connection.close()
        if response.status != 200:
            raise Refused(_message(body, response.status))
        fragment = f"code={json.loads(body)['code']}"
        if path != "/":
            fragment += f"&next={quote(path, safe='')}"
        return f"{self.pages}/login#{fragment}"

    @contextmanager
    def _answer(self, path: str, timeout: float | None) -> Iterator[http.client.HTTPResponse]:
        context = ssl.create_default_context(cafile=str(self.home.keys / folder.CA))
        connection = http.client.HTTPSConnection(
            HOST, self.api_port, timeout=timeout, context=context
        )
        try:
            connection.request("GET", path, headers={"Authorization": self._bearer})
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Refused(
                f"no answer from {self.api} ({why}); if it isn't starting or ending just now, see "
                "what `bessemer up` said"
            ) from error
        finally:
            connection.close()

    @property
    def _bearer(self) -> str:
        return f"Bearer {self.token}"


def _message(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"the API answered {status}"
