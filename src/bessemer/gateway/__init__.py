"""Envoy as data plane: HTTPRoutes, Services and EndpointSlices become its configuration.

May import: ``control``, ``kube``, ``resources``, ``base``; no other capability.
"""
