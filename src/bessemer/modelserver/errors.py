"""What can go wrong, free of any transport; ``asgi`` maps each to a status code.

::

    ServingError
      LoadFailure          the model's file is missing, ambiguous, or can't be read
      InvalidRequest       the caller's fault; the text says what was expected and what was given
      TooLarge             a body over the limit
      UnknownModel         no model or version of that name here
      NotReady             the model is not loaded now
      NotSupported         the protocol knows it, this model can't do it
      ModelFailure         the model itself raised
      CallerGone           nobody waits for the answer any more
"""

from bessemer.base.errors import BessemerError


class ServingError(BessemerError):
    """The server can't answer as asked."""


class LoadFailure(ServingError):
    """The model can't be loaded; the text says which file and why."""


class InvalidRequest(ServingError):
    """The request breaks a rule of the protocol or of the model."""


class TooLarge(ServingError):
    """The body is over the limit."""


class UnknownModel(ServingError):
    """No such model, or no such version of it."""


class NotReady(ServingError):
    """The model is not loaded, or the server is about to end."""


class NotSupported(ServingError):
    """This model has no such ability."""


class CallerGone(ServingError):
    """The caller hung up before the answer."""


class ModelFailure(ServingError):
    """The model raised while it predicted."""
