"""What Bessemer can do, each a descriptor of all that it asks of a cluster, whichever that is.

May import: the capability rooms, ``control``, ``kube``, ``database``, ``kinds``, ``base``; never
``cluster`` nor the home: the embedded cluster and the operator make a ``Context`` of what they
have, and open the same table. What a descriptor holds is in ``capability``; a capability is one
module beside it and one line in ``catalog``.
"""
