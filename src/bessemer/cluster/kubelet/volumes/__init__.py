"""What a pod finds in its files and variables: claims, Secrets, ConfigMaps, tokens, itself.

May import: ``images``, ``runtime`` and the kubelet's ``errors``; ``control``, ``kube``, ``kinds``,
``base``.
To change what is in a volume open ``payloads`` (pure); how it is written, ``podvolumes``; where a
claim's files are, ``claimfolders``; environment variables and $(VAR), ``variables`` (pure).
"""
