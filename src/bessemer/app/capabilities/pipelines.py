"""Kubeflow Pipelines: the engine, its REST face, the account that steps run as."""

from __future__ import annotations

from bessemer.app.capabilities.capability import (
    PIPELINES_NAMESPACE,
    Capability,
    Context,
    Opened,
    Rights,
    Served,
)
from bessemer.kinds import meta
from bessemer.kinds.rbac import ROLE_BINDING
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.pipelines import pods
from bessemer.pipelines.api import Cluster, build_api
from bessemer.pipelines.engine import Engine
from bessemer.pipelines.history import SqlHistory
from bessemer.pipelines.reconciler import EngineOptions
from bessemer.pipelines.trial import Trial

# KFP's paths on the API server's own port.
_PREFIXES = ("/apis/v2beta1/", "/apis/v1alpha1/runs", "/pipeline/apis/")
_SERVICE = "ml-pipeline"
_VERBS = ("terminate", "retry", "archive", "unarchive", "upload", "readArtifact")


def _open(context: Context) -> Opened:
    client, clock = context.client, context.clock
    options = EngineOptions(context.artifacts, replica=context.replica)
    history = SqlHistory(context.database)
    engine = Engine(client, context.informers, history, context.step_logs, clock, options)
    trial = Trial(client, context.artifacts, context.refuse_image)
    face = build_api(
        context.database, context.guard, clock, engine.wake, context.step_logs,
        Cluster(PIPELINES_NAMESPACE, trial, context.replica.id),
    )  # fmt: skip
    return Opened(
        {"pipeline engine": engine.run},
        (Served(face, _PREFIXES, (PIPELINES_NAMESPACE, _SERVICE)),),
    )


_ACCOUNT = meta.new(SERVICE_ACCOUNT, pods.SERVICE_ACCOUNT, PIPELINES_NAMESPACE)
_BINDING = meta.new(
    ROLE_BINDING,
    pods.SERVICE_ACCOUNT,
    PIPELINES_NAMESPACE,
    roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
    subjects=[
        {
            "kind": "ServiceAccount",
            "name": pods.SERVICE_ACCOUNT,
            "namespace": PIPELINES_NAMESPACE,
        }
    ],
)

PIPELINES = Capability(
    "pipelines",
    _open,
    rights=(Rights("pipelines.kubeflow.org", edited=("*",), verbs=_VERBS),),
    objects=((SERVICE_ACCOUNT, _ACCOUNT), (ROLE_BINDING, _BINDING)),
)
