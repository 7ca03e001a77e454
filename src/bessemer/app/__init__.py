"""The composition root: opens the home, joins the rooms, starts and stops everything.

May import every room but ``cli``. To change what is started, and in which order, open
``control_plane`` (the cluster itself: ``embedded``; what stands on it: ``platform``, made of the
descriptors in ``capabilities``); how other clusters are reached, ``kubeaccess``; when a start is
over, ``readiness``; how it ends, ``main``, and its pods, ``shutdown``; how a part's death ends the
process, ``supervision``; what a home is made of, ``folder``; how ports are chosen, ``ports``; how
homes side by side keep apart, ``network``; what exists in a new cluster, ``bootstrap``; what the
images of our own programs are, ``images``; the HTTP servers, ``servers``. For the cli alone:
``objects`` and ``trial``. ``folder`` imports nothing heavy: every command reads a home through it.
"""
