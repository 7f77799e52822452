"""What oncegate costs beside its peers: ``scripts/bench`` runs it, and writes ``benchmarks/report/``.

A suite is a module of ``suites/`` with ``run(plan)``. All measure in the same way: contestants take turns within a round,
ratios are made within a round, and what is shown is the median with the lowest and the highest. Nothing here is a test
with a threshold: ``musts.py`` says beside each figure what it must be.
"""
