"""What Ctrl-C does while there is nothing to end well."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def end_at_once() -> Iterator[None]:
    """For imports: Ctrl-C ends the process, as the kernel does where nobody handles it.

    A KeyboardInterrupt in the midst of an import is a traceback, and may become another error.
    """
    handler = signal.getsignal(signal.SIGINT)
    if handler is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
