"""Pods and their containers: what is due, who does it, what the API is told of it.

May import: ``volumes``, ``images``, ``runtime`` and the kubelet's ``errors``; ``control``,
``kube``, ``kinds``, ``base``.
To change when a container starts or ends open ``plan`` (pure); what a status says, ``status``
(pure); what a container is started with, ``preparation`` and ``spec``; probes, ``probes``; the
Node object, ``registration``; who is evicted, ``eviction`` (pure).
"""
