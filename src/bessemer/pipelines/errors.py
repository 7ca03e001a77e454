"""What the REST face refuses, named as gRPC names it; the HTTP side is one table in ``api``.

::

    PipelinesError
      InvalidArgument      the request breaks a rule
      FailedPrecondition   the request is fine, the thing's state is not
      Aborted              the run can't be retried
      LeaseLost            another replica drives the run
      NotFound             no such thing
      AlreadyExists        the name is taken
      Unauthenticated      no identity
      PermissionDenied     the identity may not
      TooLarge             more bytes than we take
      Unimplemented        a later version will
"""

from typing import ClassVar

from bessemer.base.errors import BessemerError


class PipelinesError(BessemerError):
    """A refusal; ``code`` is the number of google.rpc.Code."""

    code: ClassVar[int] = 13


class InvalidArgument(PipelinesError):
    """The request breaks a rule."""

    code = 3


class NotFound(PipelinesError):
    """No such thing."""

    code = 5


class AlreadyExists(PipelinesError):
    """The name is taken."""

    code = 6


class PermissionDenied(PipelinesError):
    """The identity may not do this."""

    code = 7


class TooLarge(PipelinesError):
    """More bytes than we take."""

    code = 8


class FailedPrecondition(PipelinesError):
    """The thing's state does not allow it now."""

    code = 9


class Aborted(PipelinesError):
    """The run is in no state to be retried, as upstream names it."""

    code = 10


class LeaseLost(PipelinesError):
    """Another replica drives the run by now: what this one wanted to store is void."""

    code = 10


class Unimplemented(PipelinesError):
    """A later version will do it."""

    code = 12


class Unauthenticated(PipelinesError):
    """No identity, or one that we don't know."""

    code = 16
