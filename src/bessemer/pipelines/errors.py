"""What goes wrong between replicas. What a request is refused for is in ``web.errors``."""

from __future__ import annotations

from bessemer.base.errors import BessemerError


class LeaseLost(BessemerError):
    """Another replica drives the run by now: what this one wanted to store is void."""
