"""InferenceService: a model that answers requests."""

from bessemer.resources.kind import Kind

INFERENCE_SERVICE = Kind(
    "serving.kserve.io",
    "v1beta1",
    "InferenceService",
    "inferenceservices",
    singular="inferenceservice",
    short_names=("isvc",),
    subresources=frozenset({"status"}),
    custom=True,
)
