"""The node agent: what runs a Pod on this machine.

May import: ``control``, ``kube``, ``kinds``, ``base``. The only room that starts processes
(``runtime`` the containers', ``images`` uv's). Its rooms, each of which may import those below it:

``logs``       reading the logs of pods
``pods``       pods and their containers: when they start and end, probes, status, the Node
``volumes``    what a pod finds in its files and variables; claims and their folders
``images``     what an image name means here; environments and what packages may bring into them
``runtime``    how a container is started, watched and confined; one port, two implementations
``errors``     why a container can't start

To change when a container starts, restarts, is ended open ``pods.plan`` (pure; ``pods.worker`` has
it done); who is told of changes, and what strays at a start, ``pods.agent``.
"""
