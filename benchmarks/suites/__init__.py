"""A module for each suite, with ``run(plan)``; the names are those that ``scripts/bench`` takes."""
