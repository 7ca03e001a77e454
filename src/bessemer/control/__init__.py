"""How reconcilers run: the contract, the queue and its back-off, controllers, events, leases.

May import: ``kube``, ``kinds``, ``base``. Knows no kind's meaning.
The contract is ``reconcile``; ``sources`` turns changes into keys; ``queue`` holds keys apart and
backs off; ``controller`` joins sources, queue and reconciler; ``events`` writes Events;
``finalizers`` keeps the clean-up steps.
"""
