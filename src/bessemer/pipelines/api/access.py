"""What RBAC is asked about runs, experiments and pipelines."""

from __future__ import annotations

from bessemer.kube.access import Attributes

GROUP = "pipelines.kubeflow.org"


def asked(verb: str, resource: str, namespace: str) -> Attributes:
    """A verb on one of the resources of ``pipelines.kubeflow.org``."""
    return Attributes(verb, GROUP, resource, namespace=namespace)
