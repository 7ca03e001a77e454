"""Answers: JSON, and errors as HTTP in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from bessemer.base import logs
from bessemer.base.errors import BessemerError
from bessemer.database.errors import DatabaseError
from bessemer.kube.errors import ApiError
from bessemer.web.errors import Refusal

_log = logs.get(__name__)

INTERNAL, UNAVAILABLE = 13, 14
#: google.rpc.Code to HTTP, as grpc-gateway maps it; bytes over the limit are 413 as everywhere.
HTTP_STATUS: Mapping[int, int] = {
    3: 400,
    5: 404,
    6: 409,
    7: 403,
    8: 413,
    9: 400,
    10: 409,
    12: 501,
    13: 500,
    14: 503,
    16: 401,
}
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 409: 6, 413: 8}


class JsonResponse(Response):
    """An answer as compact JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


@dataclass(frozen=True)
class ErrorAnswers:
    """Errors as a face's own clients read them.

    Attributes:
        body: the answer's JSON, of the request, the number of google.rpc.Code and the words.
        codes: the codes of the face's own errors that are no ``Refusal``.
    """

    body: Callable[[Request, int, str], Any]
    codes: Mapping[type[Exception], int] = field(default_factory=dict)

    async def __call__(self, request: Request, error: Exception) -> Response:
        """The answer; what is our fault is logged."""
        code, message = self._judge(error)
        if code in (INTERNAL, UNAVAILABLE):
            _log.error(
                "request failed",
                extra=logs.fields(method=request.method, path=request.url.path, reason=message),
                # A full disk is no bug: its reason is enough.
                exc_info=error if code == INTERNAL else None,
            )
        status = error.status_code if isinstance(error, HTTPException) else HTTP_STATUS[code]
        return JsonResponse(self.body(request, code, message), status)

    def _judge(self, error: Exception) -> tuple[int, str]:
        """An error's google.rpc.Code, and what to say; a bug says nothing of its inside."""
        if isinstance(error, Refusal):
            return error.code, str(error)
        for sort, code in self.codes.items():
            if isinstance(error, sort):
                return code, str(error)
        if isinstance(error, HTTPException):
            return _CODES.get(error.status_code, INTERNAL), str(error.detail)
        if isinstance(error, ApiError):
            return _CODES.get(error.code, INTERNAL), error.message
        if isinstance(error, BessemerError):
            return UNAVAILABLE if isinstance(error, DatabaseError) else INTERNAL, str(error)
        return INTERNAL, "internal error: this is a bug of Bessemer; its log has the details"
