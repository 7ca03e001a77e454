"""Where what runs produce is kept: one port, and the places that fulfil it.

May import: ``control``, ``kube``, ``kinds``, ``base``. The capability rooms know ``store`` alone,
the port with its laws; ``app`` picks the place:

- ``claim``: a namespace's PersistentVolumeClaim that is a folder of this machine; URIs are plain
  paths, and pods mount it at them.

- ``volume``: a folder of the control plane's own, where pods can't mount what it keeps. ``face``
  serves it to their launchers, each with a token of its run (``tokens``); ``http`` is the client,
  and ``protocol`` what the two say to each other.
- ``bucket``: a store of objects (S3, GCS, Azure) through ``obstore``, of the extra ``objects``.

``disk`` is what places on a disk share: every file is reached by descriptors, through no link.
``logs`` keeps the logs of pods that are gone.

To change what a URI means or what a pod mounts open the place's module; what is refused on a disk,
``disk``; what every place has to hold, ``store`` and ``tests/contract/artifacts/``.
"""
