"""Envoy as data plane: HTTPRoutes, Services and EndpointSlices become its configuration.

Envoy is a pod in ``bessemer-system`` that reads its clusters, listeners and routes from files of a
ConfigMap and follows their changes, so that it goes on answering when the control plane does not.

May import: ``control``, ``kube``, ``kinds``, ``base``; no other capability.

- from objects to clusters, listeners and routes: ``render`` (pure)
- in which order changes reach Envoy, so that no request is dropped: ``plan`` (pure)
- the listener, whose tokens it takes, limits: ``bootstrap`` (pure)
- who may take which route: ``access``; in Envoy's words: ``guard`` (pure)
- what a Service is told of its address: ``services`` (pure); what Envoy says of itself: ``envoy``
- Envoy's own Deployment: ``manifests``; observing and writing: ``reconciler``
"""
