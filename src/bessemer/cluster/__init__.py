"""The embedded cluster: a Kubernetes API and what stands behind it, in this process.

May import: ``control``, ``kube``, ``database``, ``resources``, ``base``. Its rooms, top imports
down only: ``apiserver`` over ``admission`` over ``store``; ``workloads``, ``scheduler`` and
``node`` use only a client.
"""
