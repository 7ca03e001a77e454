"""ConfigMap: configuration that pods read."""

from bessemer.resources.kind import Kind

CONFIG_MAP = Kind(
    "",
    "v1",
    "ConfigMap",
    "configmaps",
    singular="configmap",
    short_names=("cm",),
)
