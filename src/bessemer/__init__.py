"""Bessemer: Kubeflow in one process, and the same objects on Kubernetes.

The rooms, top imports down only (``docs/architecture.md`` draws them; import-linter proves it)::

    cli            commands
    app            composition root
    dashboard      web pages
    pipelines  serving  gateway            one room a capability; they never import each other
    cluster        the embedded cluster: store, apiserver, admission, workloads, scheduler, node
    control        how reconcilers run
    kube           talking to a Kubernetes API
    database       the SQL engine
    resources      the nouns
    base           errors, clock, ids, logging

``launcher`` and ``modelserver`` are programs of their own that run inside pods.
"""

__version__ = "0.1.0"
