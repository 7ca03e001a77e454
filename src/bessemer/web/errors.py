"""What an HTTP face refuses, named as gRPC names it; the HTTP side is one table in ``answers``.

::

    Refusal
      InvalidArgument      the request breaks a rule
      FailedPrecondition   the request is fine, the thing's state is not
      Aborted              somebody else changed the thing meanwhile, or it is in no such state
      NotFound             no such thing
      AlreadyExists        the name is taken
      Unauthenticated      no identity
      PermissionDenied     the identity may not
      TooLarge             more bytes than we take
      Unimplemented        a later version will
"""

from typing import ClassVar

from bessemer.base.errors import BessemerError


class Refusal(BessemerError):
    """A request that is not done; ``code`` is the number of google.rpc.Code."""

    code: ClassVar[int] = 13


class InvalidArgument(Refusal):
    """The request breaks a rule."""

    code = 3


class NotFound(Refusal):
    """No such thing."""

    code = 5


class AlreadyExists(Refusal):
    """The name is taken."""

    code = 6


class PermissionDenied(Refusal):
    """The identity may not do this."""

    code = 7


class TooLarge(Refusal):
    """More bytes than we take."""

    code = 8


class FailedPrecondition(Refusal):
    """The thing's state does not allow it now."""

    code = 9


class Aborted(Refusal):
    """The thing changed meanwhile, or is in no state for that."""

    code = 10


class Unimplemented(Refusal):
    """A later version will do it."""

    code = 12


class Unauthenticated(Refusal):
    """No identity, or one that we don't know."""

    code = 16
