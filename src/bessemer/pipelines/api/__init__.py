"""The REST face: KFP's v2beta1 over the history and the catalog.

May import: the rest of ``pipelines``, ``web``, ``kube.access``, ``database``, ``base``;
nothing of ``pipelines`` imports it.

To change a route open the module of its noun; what all share, ``http``; what RBAC is asked,
``access``; under which paths it is served, ``face``. What other faces share too is in ``web``.
"""

from bessemer.pipelines.api.face import PipelinesApi, build_api
from bessemer.pipelines.api.http import Cluster

__all__ = ["Cluster", "PipelinesApi", "build_api"]
