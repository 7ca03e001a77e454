"""InferenceServices: from a declared model to revisions, Deployments, Services and routes.

May import: ``control``, ``kube``, ``resources``, ``base``; no other capability.
"""
