"""HTTPRoute: which requests go to which Services, by weight."""

from bessemer.resources.kind import Kind

HTTP_ROUTE = Kind(
    "gateway.networking.k8s.io",
    "v1",
    "HTTPRoute",
    "httproutes",
    singular="httproute",
    subresources=frozenset({"status"}),
    custom=True,
)
