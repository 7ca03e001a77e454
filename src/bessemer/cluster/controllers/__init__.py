"""Kubernetes' own small controllers, by informers and a client alone: one folder a controller.

May import: ``control``, ``kube``, ``kinds``, ``base``.
Each folder has ``plan`` (pure: declared, observed, now -> what to do) and ``reconciler``:
``deployment``, ``replicaset``, ``job``, ``endpoints`` (EndpointSlices of Services), ``garbage``
(dependents of what is gone). One file each: ``namespaces`` (empty the deleted ones),
``essentials`` (what each namespace has from its start), ``podgc`` (pods nobody cleans up),
``protection`` (claims in use stay).
``catalog`` joins them; ``victims`` tells which pods go first. What they share with every other
controller is in ``control``.
"""
