"""PersistentVolumeClaim: a folder that outlives pods."""

from bessemer.resources.kind import Kind

PERSISTENT_VOLUME_CLAIM = Kind(
    "",
    "v1",
    "PersistentVolumeClaim",
    "persistentvolumeclaims",
    singular="persistentvolumeclaim",
    short_names=("pvc",),
    subresources=frozenset({"status"}),
)
