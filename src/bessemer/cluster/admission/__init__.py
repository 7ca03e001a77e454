"""What is decided before a write: structure, defaults, rules of a kind, namespace life.

May import: ``kube``, ``kinds``, ``base``. Pure: objects and facts in, causes out.
To change the order of the steps open ``chain``; unknown fields and types, ``structure``; names,
labels and owners, ``names``; what may not change, ``immutables``; a pod's identity and host
paths, ``pods``; what becomes of each field of a pod here, ``podfields``; Services' addresses,
``services``; the finalizer of claims, ``claims``. A kind's own defaults and rules stand in its
module of ``kinds``.
"""
