"""CustomResourceDefinitions: kinds that are learned while the server runs.

May import: ``control``, ``kube``, ``kinds``, ``base``, and the libraries of CEL and RE2. A
definition becomes a ``Kind`` like any other (``definitions``), whose rules come from its
structural schema: ``schema`` prunes, fills in defaults and validates, ``celrules`` runs
``x-kubernetes-validations``, ``jsonpath`` reads printer columns. ``reconciler`` has the API server
serve it, tells so in its status, and empties it when it goes.

To change what of a definition is refused open ``definitions``; what of an object, ``schema``.
"""
