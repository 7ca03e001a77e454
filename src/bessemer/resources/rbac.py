"""Role, ClusterRole and their bindings: who may do what."""

from bessemer.resources.kind import Kind

_GROUP = "rbac.authorization.k8s.io"

ROLE = Kind(_GROUP, "v1", "Role", "roles", singular="role")
CLUSTER_ROLE = Kind(
    _GROUP, "v1", "ClusterRole", "clusterroles", namespaced=False, singular="clusterrole"
)
ROLE_BINDING = Kind(_GROUP, "v1", "RoleBinding", "rolebindings", singular="rolebinding")
CLUSTER_ROLE_BINDING = Kind(
    _GROUP,
    "v1",
    "ClusterRoleBinding",
    "clusterrolebindings",
    namespaced=False,
    singular="clusterrolebinding",
)
