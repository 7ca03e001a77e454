"""What a Kubernetes API answers when it won't: metav1.Status as exceptions.

::

    ApiError
      BadRequest 400 · Unauthorized 401 · Forbidden 403 · NotFound 404 · AlreadyExists 409
      Conflict 409 · Expired 410 · TooLarge 413 · UnsupportedMediaType 415 · Invalid 422
      TooManyRequests 429 · InternalError 500 · ServiceUnavailable 503 · Timeout 504

Source: k8s.io/apimachinery/pkg/api/errors; SDKs match on reason and message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from bessemer.base.errors import BessemerError
from bessemer.kinds.kind import Cause, Kind, Object
from bessemer.kinds.rules import MOST_CAUSES

#: The cause of a refusal by a namespace that is being deleted (core/v1).
NAMESPACE_TERMINATING = "NamespaceTerminating"


class ApiError(BessemerError):
    """An answer of the API that is no success."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(self, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        # Upstream's 404 for a path that leads nowhere has empty details, which kubectl looks into.
        self.details = None if details is None else dict(details)

    def to_status(self) -> Object:
        """The error as the JSON body of a response."""
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details is not None:
            status["details"] = self.details
        return status


class BadRequest(ApiError):
    """The request can't be understood."""

    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    """No identity, or one that we don't know."""

    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    """The identity may not do this."""

    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    """No such object."""

    code, reason = 404, "NotFound"


class MethodNotAllowed(ApiError):
    """The resource does not know this verb."""

    code, reason = 405, "MethodNotAllowed"


class AlreadyExists(ApiError):
    """An object of that name exists."""

    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    """The object changed since it was read: re-read and try again."""

    code, reason = 409, "Conflict"


class Expired(ApiError):
    """The resourceVersion is too old: list again."""

    code, reason = 410, "Expired"


class TooLarge(ApiError):
    """The body is over the limit."""

    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    """The body's Content-Type is not one that the verb takes."""

    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    """The object breaks rules of its kind."""

    code, reason = 422, "Invalid"


class TooManyRequests(ApiError):
    """Come again later."""

    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    """A bug of the server."""

    code, reason = 500, "InternalError"


class ServiceUnavailable(ApiError):
    """The server can't answer now (starting, stopping, disk full)."""

    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    """The server did not finish in time."""

    code, reason = 504, "Timeout"


BY_REASON: Mapping[str, type[ApiError]] = {
    cls.reason: cls
    for cls in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, AlreadyExists, Conflict,
        Expired, TooLarge, UnsupportedMediaType, Invalid, TooManyRequests, InternalError,
        ServiceUnavailable, Timeout,
    )
}  # fmt: skip


def from_status(status: Mapping[str, Any], code: int) -> ApiError:
    """The exception for a Status body (any reason we don't know becomes the code's, or 500)."""
    reason = str(status.get("reason", ""))
    by_code = {cls.code: cls for cls in list(BY_REASON.values())[::-1]}
    cls = BY_REASON.get(reason) or by_code.get(code, InternalError)
    return cls(str(status.get("message") or reason or code), status.get("details"))


def is_terminating(error: ApiError) -> bool:
    """Whether a create was refused because its namespace is on its way out."""
    causes = (error.details or {}).get("causes") or ()
    return any(cause.get("reason") == NAMESPACE_TERMINATING for cause in causes)


def not_found(kind: Kind, name: str) -> NotFound:
    """``pods "a" not found``, in upstream's words."""
    return NotFound(f'{kind.resource} "{name}" not found', _details(kind, name))


def already_exists(kind: Kind, name: str) -> AlreadyExists:
    """``pods "a" already exists``, in upstream's words."""
    return AlreadyExists(f'{kind.resource} "{name}" already exists', _details(kind, name))


def conflict(kind: Kind, name: str, why: str = "") -> Conflict:
    """The optimistic lock failed, in upstream's words."""
    why = why or (
        "the object has been modified; "
        "please apply your changes to the latest version and try again"
    )
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return Conflict(message, _details(kind, name))


def invalid(kind: Kind, name: str, causes: Iterable[Cause]) -> Invalid:
    """``Pod "a" is invalid: spec.x: Required value``, one cause or a list, in upstream's form."""
    causes = list(causes)
    left_out = len(causes) - MOST_CAUSES
    causes = causes[:MOST_CAUSES]
    parts = [f"{cause.field}: {cause.message}" for cause in causes]
    if left_out > 0:
        parts.append("and more")
    text = parts[0] if len(parts) == 1 else "[" + ", ".join(parts) + "]"
    details = {
        "name": name,
        "group": kind.group,
        "kind": kind.kind,
        "causes": [
            {"reason": cause.reason, "message": cause.message, "field": cause.field}
            for cause in causes
        ],
    }
    return Invalid(f'{kind} "{name}" is invalid: {text}', details)


def version_to_come(wanted: int, current: int) -> Timeout:
    """A resourceVersion that has not been yet.

    client-go looks for the cause, and only then reads again from the present: whoever watched a
    home that was put back from a copy would else ask for that version for ever.
    """
    message = "Too large resource version"
    cause = {"reason": "ResourceVersionTooLarge", "message": message}
    details = {"causes": [cause], "retryAfterSeconds": 1}
    return Timeout(f"{message}: {wanted}, current: {current}", details)


def _details(kind: Kind, name: str) -> dict[str, Any]:
    return {"name": name, "group": kind.group, "kind": kind.plural}
