"""Which pods may start on the one node: fit by requests, the reason when not.

May import: ``control``, ``kube``, ``kinds``, ``base``.
To change what fits, and the words when it does not, open ``plan`` (pure); how a pod is bound and
tried again, ``reconciler``.
"""
