"""The root of our errors: each says the rule broken, the value got and the cure.

::

    BessemerError                 anything that a person can act on
      kube.errors.ApiError        what a Kubernetes API answers (code, reason, message, details)
      (each room adds its own beneath, in its own errors module)
"""


class BessemerError(Exception):
    """A rule was broken; the text says which, with what value, and how to mend it.

    ``str(error)`` is one line (or a few) for a person, never a traceback.
    """
