"""What an image is on a machine that pulls none: an environment, the machine's userland, nothing.

May import: ``runtime`` and the kubelet's ``errors``; ``kinds``, ``base``. Runs uv, by ``bounded``.
To change what a reference means open ``resolution`` (pure); how an environment is made,
``environments``; what a package may bring into one, ``inspection`` and ``wheels``; what ``pip`` is
there, ``standin/pip``.
"""
