"""The chain: what every write passes before it is stored, in upstream's order.

structure -> kind's defaults -> account and namespace of a pod -> names and labels -> the kind's
own rules -> what of a pod this cluster can do -> what must not change. Each step is a module
beside this one.
"""

from __future__ import annotations

from bessemer.cluster.admission import (
    claims,
    immutables,
    names,
    namespaces,
    podfields,
    pods,
    services,
    structure,
)
from bessemer.cluster.admission.lookup import Lookup
from bessemer.kinds.kind import Cause, Kind, Object
from bessemer.kube.access import User
from bessemer.kube.errors import BadRequest, invalid


class Admission:
    """Decides writes; pure but for the reader handed in.

    Args:
        lookup: reads a stored object: by kind ("Namespace"), namespace ("") and name.
        addresses: where Services get theirs from.
    """

    def __init__(self, lookup: Lookup, addresses: services.Addresses) -> None:
        self._lookup = lookup
        self._addresses = addresses

    def admit_create(self, kind: Kind, obj: Object, user: User) -> Object:
        """The object as it is to be stored (the one handed in, changed in place)."""
        _drop_server_fields(obj)
        structure.check(kind, obj)
        structure.prune(kind, obj)
        namespaces.admit_create(kind, obj, self._lookup)
        pods.admit_create(kind, obj, user, self._lookup)
        if kind.default is not None:
            kind.default(obj)
        services.admit_create(kind, obj, self._addresses)
        claims.admit_create(kind, obj)
        self._validate(kind, obj, None)
        return obj

    def admit_update(
        self, kind: Kind, new: Object, old: Object, user: User, subresource: str
    ) -> Object:
        """The object as it is to be stored instead of the old one."""
        _drop_server_fields(new)
        structure.check(kind, new)
        structure.prune(kind, new)
        if kind.default is not None:
            kind.default(new)
        if subresource == "status" and kind.prune is not None:
            self._validate(kind, new, old)  # a learned kind's schema is its status', too
        if subresource in ("", "scale"):
            services.admit_update(kind, new, old, self._addresses)
            self._validate(kind, new, old)
        return new

    def admit_delete(self, kind: Kind, obj: Object, user: User) -> None:
        """Raise where the object must stay."""
        namespaces.admit_delete(kind, obj)

    def _validate(self, kind: Kind, new: Object, old: Object | None) -> None:
        causes: list[Cause] = names.check(kind, new, old)
        causes += _check_kind(kind, new, old)
        causes += podfields.check(kind, new, old)
        if old is not None:
            causes += immutables.check(kind, new, old)
        if causes:
            raise invalid(kind, str(new["metadata"].get("name", "")), causes)


def _check_kind(kind: Kind, new: Object, old: Object | None) -> list[Cause]:
    if kind.validate is None:
        return []
    try:
        return kind.validate(new, old)
    except (TypeError, AttributeError, LookupError) as error:
        if kind.schema is not None:
            raise
        # No schema stands before this kind's rules, so they may meet values of any type.
        raise BadRequest(
            f"{kind.kind} {new['metadata'].get('name', '')!r} can't be read: a value is of "
            f"another type than its field ({error})"
        ) from error


def _drop_server_fields(obj: Object) -> None:
    # The machine keeps the fields' owners apart from what is admitted.
    metadata = obj.get("metadata")
    if type(metadata) is dict:
        metadata.pop("managedFields", None)
        metadata.pop("selfLink", None)
