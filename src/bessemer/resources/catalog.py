"""The table of all kinds: what the API machine serves, and discovery tells."""

from bessemer.resources.configmap import CONFIG_MAP
from bessemer.resources.deployment import DEPLOYMENT
from bessemer.resources.endpointslice import ENDPOINT_SLICE
from bessemer.resources.event import EVENT
from bessemer.resources.httproute import HTTP_ROUTE
from bessemer.resources.inferenceservice import INFERENCE_SERVICE
from bessemer.resources.job import JOB
from bessemer.resources.kind import Kind
from bessemer.resources.lease import LEASE
from bessemer.resources.namespace import NAMESPACE
from bessemer.resources.node import NODE
from bessemer.resources.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.resources.pod import POD
from bessemer.resources.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from bessemer.resources.replicaset import REPLICA_SET
from bessemer.resources.secret import SECRET
from bessemer.resources.service import SERVICE
from bessemer.resources.serviceaccount import SERVICE_ACCOUNT
from bessemer.resources.servingruntime import SERVING_RUNTIME

KINDS: tuple[Kind, ...] = (
    NAMESPACE,
    NODE,
    EVENT,
    POD,
    CONFIG_MAP,
    SECRET,
    SERVICE_ACCOUNT,
    PERSISTENT_VOLUME_CLAIM,
    SERVICE,
    ENDPOINT_SLICE,
    LEASE,
    JOB,
    DEPLOYMENT,
    REPLICA_SET,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    SERVING_RUNTIME,
    ROLE,
    CLUSTER_ROLE,
    ROLE_BINDING,
    CLUSTER_ROLE_BINDING,
)
