"""A home: one table in one Region, asked by blocking calls until an answer is known or the viewer's time is up.

The talks are those of the gateway (``ledgers/claiming.py``, ``ledgers/dynamodb/requests.py``). The difference is what
comes after the time: a gateway goes on in the background, an instance of the function is frozen between events. So it
remembers the claim that it was not told about, and the next request for that link goes on with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from oncegate.aws_requests.flow import NoAnswer, drive_blocking
from oncegate.aws_requests.flow import Talk as HttpTalk
from oncegate.edge.connection import Connection
from oncegate.edge.log import log
from oncegate.ledgers.claiming import Outcome, Pause, Step, Talk, claim
from oncegate.ledgers.dynamodb.items import BORN_KEY, LAYOUT, Born, born_of
from oncegate.ledgers.dynamodb.requests import SaidNo, get_item, insert_talk, read_talk, replace_talk
from oncegate.ledgers.protocol import Insert, Replace, Stands, Unknown
from oncegate.links.refusal import Reason, Refused
from oncegate.uses.edge_use import EdgeAsk
from oncegate.uses.record import Record, from_json
from oncegate.uses.use import Admission, Kind

BIRTH_KNOWN_S = 60.0
"""After it the birth is read again: a table that was made anew or repaired meanwhile would open used links."""

LINKS_REMEMBERED_MAX = 100
UNANSWERED_MAX = 8
"""Claims of one link that are remembered; the oldest is forgotten, and stays spent."""

T = TypeVar("T")
Decide = Callable[[Record | None], Admission]


class Home:
    """One table.

    Args:
        table: its name.
        region: where it is.
    """

    def __init__(self, table: str, region: str) -> None:
        self._table = table
        self._connection = Connection(region)
        self._born: Born | None = None
        self._born_read_at = 0.0
        self._unanswered: dict[bytes, tuple[str, ...]] = {}

    def born(self, *, until: float) -> Born:
        """When the ledger was created, and what its last repair left.

        Raises:
            Refused: LEDGER_UNKNOWN: nobody said, it cannot be read, or its records are named as none are here.
        """
        if self._born is not None and time.monotonic() - self._born_read_at < BIRTH_KNOWN_S:
            return self._born
        try:
            item, _ = self._run(get_item(self._table, BORN_KEY), until)
            born = born_of(item or {})
        except (NoAnswer, SaidNo) as error:
            log("fault", where="ledger", what=str(error))
            raise Refused(Reason.LEDGER_UNKNOWN) from None
        except (KeyError, ValueError):
            log("fault", where="ledger", what="the table says no birth: run oncegate ledger migrate")
            raise Refused(Reason.LEDGER_UNKNOWN) from None
        if born.layout != LAYOUT:
            log("fault", where="ledger", what="the table has a layout that is not known here: deploy a newer oncegate")
            raise Refused(Reason.LEDGER_UNKNOWN)
        self._born, self._born_read_at = born, time.monotonic()
        return born

    def unanswered(self, link_id: bytes) -> tuple[str, ...]:
        """Claim ids of a link whose writes were never answered here."""
        return self._unanswered.get(link_id, ())

    def record(self, link_id: bytes, *, until: float) -> Record | None:
        """What stands of a link.

        Raises:
            Refused: LEDGER_UNKNOWN.
        """
        found = self._run(read_talk(self._table, link_id), until)
        if isinstance(found, Unknown):
            log("fault", where="ledger", what=found.why)
            raise Refused(Reason.LEDGER_UNKNOWN)
        return from_json(found.record) if isinstance(found, Stands) else None

    def claim(self, link_id: bytes, forget_after_s: int, ask: EdgeAsk, decide: Decide, *, until: float) -> None:
        """Win a use.

        Raises:
            Refused: why not; LEDGER_UNKNOWN where it is not known in time, and nobody must be served.
        """
        has_run_before = False

        def watched(record: Record | None) -> Admission:
            nonlocal has_run_before
            has_run_before = has_run_before or ask.has_run_before(record)
            return decide(record)

        admission = self.known(claim(link_id, forget_after_s, watched), until=until)
        if admission is None:
            if not has_run_before:
                self._remember(link_id, ask.claim_id)
            raise Refused(Reason.LEDGER_UNKNOWN)
        if admission.kind is not Kind.ADMIT:
            raise Refused(admission.reason or Reason.BUSY)
        self._unanswered.pop(link_id, None)

    def known(self, talk: Talk[T], *, until: float) -> T | None:
        """Drive a talk to its end; None where the time was up before."""
        why = ""
        try:
            step = next(talk)
            while True:
                outcome = self._carry(step, until)
                if isinstance(outcome, Unknown) and time.monotonic() >= until:
                    log("fault", where="ledger", what=why or outcome.why)
                    talk.close()
                    return None
                why = outcome.why if isinstance(outcome, Unknown) and not isinstance(step, Pause) else why
                step = talk.send(outcome)
        except StopIteration as stop:
            found: T = stop.value
            return found

    def _remember(self, link_id: bytes, claim_id: str) -> None:
        known = (*self._unanswered.pop(link_id, ()), claim_id)[-UNANSWERED_MAX:]
        while len(self._unanswered) >= LINKS_REMEMBERED_MAX:
            del self._unanswered[next(iter(self._unanswered))]
        self._unanswered[link_id] = known

    def _carry(self, step: Step, until: float) -> Outcome:
        # a token for each write: it becomes the version, and no version may ever return
        token = os.urandom(9).hex()
        if isinstance(step, Pause):
            _sleep(step.seconds, until)
            return Unknown("paused")
        if isinstance(step, Insert):
            talk = insert_talk(self._table, step.link_id, step.record, step.forget_after_s, token=token)
        elif isinstance(step, Replace):
            version = str(step.version)
            talk = replace_talk(self._table, step.link_id, version, step.record, step.forget_after_s, token=token)
        else:
            talk = read_talk(self._table, step.link_id)
        outcome = self._run(talk, until)
        if isinstance(outcome, Unknown) and outcome.kind == "exchanged":
            self._born = None
        return outcome

    def _run(self, talk: HttpTalk[T], until: float) -> T:
        return drive_blocking(talk, partial(self._connection.send, until=until), partial(_sleep, until=until))


def _sleep(seconds: float, until: float) -> None:
    time.sleep(max(0.0, min(seconds, until - time.monotonic())))
