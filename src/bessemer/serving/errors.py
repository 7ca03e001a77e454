"""Why an InferenceService can't be served as declared.

::

    Unservable        a reason for a condition, and a text with the rule, the value, the cure
"""

from bessemer.base.errors import BessemerError


class Unservable(BessemerError):
    """The declaration can't become a revision; the versions that serve go on."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
