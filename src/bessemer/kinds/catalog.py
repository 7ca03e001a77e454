"""The table of all kinds: what the API machine serves, and discovery tells."""

from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.endpointslice import ENDPOINT_SLICE
from bessemer.kinds.event import EVENT
from bessemer.kinds.httproute import HTTP_ROUTE
from bessemer.kinds.inferenceservice import INFERENCE_SERVICE
from bessemer.kinds.job import JOB
from bessemer.kinds.kind import Kind
from bessemer.kinds.lease import LEASE
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.node import NODE
from bessemer.kinds.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from bessemer.kinds.pod import POD
from bessemer.kinds.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from bessemer.kinds.replicaset import REPLICA_SET
from bessemer.kinds.secret import SECRET
from bessemer.kinds.service import SERVICE
from bessemer.kinds.serviceaccount import SERVICE_ACCOUNT
from bessemer.kinds.servingruntime import SERVING_RUNTIME

#: Those with a pod template.
TEMPLATED: tuple[Kind, ...] = (DEPLOYMENT, REPLICA_SET, JOB)
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
