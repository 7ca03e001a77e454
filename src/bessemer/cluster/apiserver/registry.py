"""Which kinds are served: those that always are, and those that are learned while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bessemer.kinds.kind import Kind


class Registry:
    """The kinds, by resource ("deployments.apps"), and the versions of those that were learned.

    Attributes:
        kinds: each resource's kind in the version that is stored; more can be added at any time.
        built_in: the resources that nobody can define anew.
        generation: grows with each change of what is served.
    """

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self.kinds: dict[str, Kind] = {kind.resource: kind for kind in kinds}
        self.built_in = frozenset(self.kinds)
        self.generation = 0
        self._versions: dict[tuple[str, str], Kind] = {}

    def learn(self, kinds: Sequence[Kind]) -> None:
        """Serve a resource in these versions, the stored one first, and in no others."""
        first = kinds[0]
        self.forget(first.resource)
        if first.stored in ("", first.api_version):  # else what is stored is not served
            self.kinds[first.resource] = first
        for kind in kinds:
            self._versions[kind.resource, kind.version] = kind

    def forget(self, resource: str) -> None:
        """Serve a resource no more."""
        self.kinds.pop(resource, None)
        for key in [key for key in self._versions if key[0] == resource]:
            del self._versions[key]
        self.generation += 1

    def find(self, resource: str, version: str) -> Kind | None:
        """The kind that is served under that name and version."""
        kind = self.kinds.get(resource)
        if kind is not None and kind.version == version:
            return kind
        return self._versions.get((resource, version))

    def served(self) -> list[Kind]:
        """Every kind in every version that is served."""
        others = [kind for kind in self._versions.values() if kind is not self._main(kind)]
        return [*self.kinds.values(), *others]

    def _main(self, kind: Kind) -> Kind | None:
        return self.kinds.get(kind.resource)
