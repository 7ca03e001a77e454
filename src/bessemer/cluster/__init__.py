"""The embedded cluster: a Kubernetes API and what stands behind it, in this process.

May import: ``control``, ``kube``, ``database``, ``kinds``, ``base``. Its rooms, top imports
down only: ``apiserver`` over ``admission`` over ``store``; ``controllers``, ``scheduler`` and
``kubelet`` use only a client.
"""
