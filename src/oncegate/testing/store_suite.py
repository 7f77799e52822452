"""The checks that every store must pass; run them on a backend of your own, against its real server.

    suite = StoreSuite(functools.partial(open_store, "file:./objects", folder=folder, options={}))
    for name in StoreSuite.CHECKS:
        asyncio.run(suite.run(name))

Each check opens the store anew, uses keys of its own, and raises ``CheckFailed`` with what it saw. Checks of several
processes raise ``CheckSkipped`` where openings share nothing, and those of replacing and removing where the store says
that it replaces or removes nothing. The store must be for tests alone: all unfinished uploads in it are swept, and objects stay in it. No
test framework is needed; with pytest, parametrize over ``CHECKS``.

What is not here: loss of power, full disks, servers that answer wrongly.
"""

from __future__ import annotations

from oncegate.testing.store_lists import ListChecks
from oncegate.testing.store_objects import ObjectChecks
from oncegate.testing.store_races import RaceChecks
from oncegate.testing.store_removals import RemovalChecks
from oncegate.testing.store_uploads import UploadChecks
from oncegate.testing.suite import CheckFailed, CheckSkipped, names_of_checks

__all__ = ["CheckFailed", "CheckSkipped", "StoreSuite"]

_GROUPS = (ObjectChecks, UploadChecks, RemovalChecks, RaceChecks, ListChecks)


class StoreSuite(ObjectChecks, UploadChecks, RemovalChecks, RaceChecks, ListChecks):
    """Runs the checks on one kind of store; ``StoreChecks`` says what it is made with."""

    CHECKS = names_of_checks(_GROUPS)
