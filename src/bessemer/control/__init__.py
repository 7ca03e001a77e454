"""How reconcilers run: the contract, the queue and its back-off, controllers, events, leases.

May import: ``kube``, ``kinds``, ``base``. Knows no controller's own purpose.
The contract is ``reconcile``; ``sources`` turns changes into keys; ``queue`` holds keys apart and
backs off; ``controller`` joins sources, queue and reconciler; ``resync`` says when a key is looked
at again though nothing changed; ``events`` writes Events; ``finalizers`` keeps the clean-up steps.
``writer`` makes a controller see its own writes; ``adoption`` (what a selector makes a
controller's own) and ``pods`` (what is asked of a pod, and pods of templates) are rules, pure, for
plans too. ``election`` has one replica at a time run something, as ``leadership`` decides, purely.
"""
