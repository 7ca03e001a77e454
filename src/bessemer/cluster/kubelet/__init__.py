"""The node agent: what runs a Pod on this machine.

May import: ``control``, ``kube``, ``kinds``, ``base``. The only room that starts processes
(``runtime`` the containers', ``environments`` uv's).

To change                                            open
when a container starts, restarts, is ended          ``plan`` (pure); ``worker`` has it done
how a container is started, watched, ended           ``containers``; when again: ``startretries``
what the API is told of a pod                        ``podrecord``
what of a container is on disk, what is adopted      ``attempts``
what a pod's status says                             ``status`` (pure)
environment variables, $(VAR)                        ``variables`` (pure)
how many threads libraries start                     ``threads``
what is in configMap, secret, projected volumes      ``payloads`` (pure); ``volumes`` writes them
what an image name means here                        ``images`` (pure); ``environments`` builds
what packages may bring into an environment          ``inspection``; ``bounded`` runs uv
what a container is started with                     ``spec``, ``preparation``; ``programs`` (ours)
probes; whose an answer is                           ``probes``, ``grpchealth``; ``listeners``
addresses and /etc/hosts                             ``addresses``
reading logs                                         ``logfiles`` (the port: ``logs``)
the Node object                                      ``registration``
claims, their folders                                ``claims``, ``claimfolders``
what ``pip`` is in users' environments               ``standin/pip``
who is told of changes, what strays at a start       ``agent``
"""
