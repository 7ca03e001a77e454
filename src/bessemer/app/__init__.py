"""The composition root: opens the home, joins the rooms, starts and stops everything.

May import every room but ``cli``. To change what is started, and in which order, open ``main``;
what a home is made of, ``folder``; how ports are chosen, ``ports``; how homes side by side keep
apart, ``network``; what exists in a new cluster, ``bootstrap``; how a part's death ends the
process, ``supervision``; the HTTP servers, ``servers``. ``folder`` and ``ports`` import nothing
heavy: the cli reads a home through them.
"""
