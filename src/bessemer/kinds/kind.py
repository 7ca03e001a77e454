"""What the API machine must know of a kind: one row of the table that drives every verb."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

# A Kubernetes object as JSON. Objects that come from a cache or the store are shared: never
# modify one; copy it first (``meta.copy``).
Object = dict[str, Any]


class Cause(NamedTuple):
    """One broken rule, as metav1.StatusCause: where, which reason, what to write instead."""

    field: str  # "spec.containers[0].name"
    message: str  # "Required value"
    reason: str = "FieldValueInvalid"  # FieldValueRequired, FieldValueNotSupported, ...


@dataclass(frozen=True)
class Column:
    """A column of ``kubectl get``: its title and how to read the cell from the object."""

    name: str
    read: Callable[[Object], object]
    type: str = "string"  # string, integer, number, boolean, date
    priority: int = 0  # 0: always, 1: with -o wide
    description: str = ""


class Scale(NamedTuple):
    """Where in an object its number of replicas is, as dotted paths."""

    replicas: str = "spec.replicas"  # as declared
    observed: str = "status.replicas"
    selector: str = ""  # of the pods, as text; empty: it is spec.selector, an object


@dataclass(frozen=True)
class Kind:
    """A kind of object: its names, scope, and the rules that admission applies.

    ``default`` fills absent fields in place on create and update. ``validate`` takes the new
    object and the stored one (None on create) and returns the broken rules; it never raises.
    ``fields`` are the field selectors allowed beyond metadata.name and metadata.namespace:
    selector key -> dotted path. Source: k8s.io/apimachinery APIResource, pkg/registry/*/strategy.
    """

    group: str  # "" for core
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()  # "status", "scale"
    columns: tuple[Column, ...] = ()
    fields: Mapping[str, str] | None = None
    default: Callable[[Object], None] | None = None
    validate: Callable[[Object, Object | None], list[Cause]] | None = None
    # Name of the compiled schema in kinds/schemas.json; None: structure is not checked.
    schema: str | None = None
    # Custom kinds have no strategic merge patch.
    custom: bool = False
    # Takes out what the kind doesn't know, in place, and tells the paths of that; None: the
    # compiled schema does, or everything is known.
    prune: Callable[[Object], list[str]] | None = None
    # The schema as OpenAPI v3 has it, of a kind that was learned; None: see ``schema``.
    openapi: Object | None = None
    # The apiVersion in which objects are stored; empty: the kind's own.
    stored: str = ""
    scale: Scale | None = None  # where its Scale is; None: as Deployments have it
    list_kind: str = ""  # of lists; empty: the kind's name with "List" behind it

    @property
    def api_version(self) -> str:
        """``v1`` or ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """``pods`` or ``deployments.apps``: how messages and RBAC name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def __str__(self) -> str:
        """``Pod`` or ``Deployment.apps``."""
        return f"{self.kind}.{self.group}" if self.group else self.kind
