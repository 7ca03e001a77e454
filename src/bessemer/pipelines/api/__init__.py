"""The REST face: KFP's v2beta1 over the history and the catalog.

May import: the rest of ``pipelines``, ``kube.access``, ``kube.errors``, ``database``, ``base``;
nothing of ``pipelines`` imports it.

To change a route open the module of its noun; what all share (errors to HTTP, JSON bodies),
``http``; who may, ``access``; under which paths it is served, ``face``.
"""

from bessemer.pipelines.api.access import Guard
from bessemer.pipelines.api.face import PipelinesApi, build_api
from bessemer.pipelines.api.http import Cluster

__all__ = ["Cluster", "Guard", "PipelinesApi", "build_api"]
