"""EndpointSlice: the pods behind a Service."""

from bessemer.resources.kind import Kind

ENDPOINT_SLICE = Kind(
    "discovery.k8s.io",
    "v1",
    "EndpointSlice",
    "endpointslices",
    singular="endpointslice",
)
