"""Talking to a Kubernetes API: the client port and its laws, its implementations, caches.

May import: ``kinds``, ``base``.
The port is ``client.Client``; ``inprocess`` and ``http`` fulfil it; ``informer`` keeps a watched
copy; ``selectors``, ``patches`` and ``requests`` are the pure parts that client and server share;
``yamlshape`` guards whoever reads YAML of others;
``permissions`` is the meaning of RBAC's rules and bindings, for all who decide by them;
``access`` has the ports of authentication and authorization; ``errors`` is what an API answers
when it won't.
"""
