"""How admission reads what is stored: a function handed in."""

from collections.abc import Callable

from bessemer.kinds.kind import Kind, Object

#: The stored object of a kind, namespace ("" if cluster-scoped) and name, or None.
Lookup = Callable[[Kind, str, str], Object | None]
