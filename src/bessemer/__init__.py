"""Bessemer: Kubeflow in one process, and the same objects on Kubernetes.

The rooms, top imports down only (``docs/architecture.md`` draws them; import-linter proves it)::

    cli            commands
    app            composition root
    dashboard      web pages
    pipelines  serving  gateway            one room a capability; they never import each other
    cluster        the embedded cluster, beside them: none imports it, and it none of them
    artifacts      where runs' outputs are kept
    control        how reconcilers run
    kube           talking to a Kubernetes API
    database       the SQL engine
    kinds          the nouns
    base           errors, clock, ids, logging

``launcher`` and ``modelserver`` are programs of their own that run inside pods.
"""

__version__ = "0.1.0"
