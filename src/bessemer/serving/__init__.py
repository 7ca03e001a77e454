"""InferenceServices: from a declared model to revisions, Deployments, Services and routes.

A change of the predictor makes a revision: a Deployment and a Service of its own. Traffic moves to
it only when its model is loaded; the one before it stays until then, and is kept without pods
afterwards for a rollback.

May import: ``artifacts.store``, ``control``, ``kube``, ``kinds``, ``base``; no other capability.

- when which revision gets traffic, is kept or goes: ``plan`` (pure)
- what a storageUri means: ``storage``; which runtime serves a format: ``runtimes``
- the objects that are made: ``manifests``; how a revision's state is read: ``observation``
- what the user is told: ``status``; observing, acting, writing: ``reconciler``
"""
