"""ServingRuntime: which container serves which model format."""

from bessemer.resources.kind import Kind

SERVING_RUNTIME = Kind(
    "serving.kserve.io",
    "v1alpha1",
    "ServingRuntime",
    "servingruntimes",
    singular="servingruntime",
    subresources=frozenset({"status"}),
    custom=True,
)
