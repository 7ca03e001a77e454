"""Model frameworks behind one port: find the file, load it, predict.

``base`` has the port ``Model`` and its laws; ``loading`` the table of frameworks; ``files`` finds
and recognises model files; one module a framework (``sklearn``, ``xgboost``) with
``load(path) -> Model``; ``boosters`` is the part of ``xgboost`` that imports it.
To add a framework: a module here with ``load``, and its line in ``loading.FRAMEWORKS``.
May import the model server's ``errors`` and ``tensors``; only its own module imports a framework.
"""
