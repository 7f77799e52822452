"""The table of ``oncegate aws dev`` passes the suite that every ledger must pass, so links behave there as deployed."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oncegate.aws.referee.table import Condition, No, Tables
from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.testing.ledger_suite import LedgerSuite

CHECKS = [name for name in LedgerSuite.CHECKS if "events" not in name]  # a ledger in DynamoDB keeps none

SERVER = """
import sys
from oncegate.aws.referee.table import TableServer
print(TableServer().url, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def suite() -> Iterator[LedgerSuite]:
    """The suite over one table, whose server is a process of its own: the suite counts this one's threads."""
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"dynamodb://links?region=us-east-1&endpoint={server.stdout.readline().strip()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "dev")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "dev")
        create_ledger(url, folder=Path())
        yield LedgerSuite(functools.partial(open_ledger, url, folder=Path()), rounds=5, kills=2)
    server.communicate()


@pytest.mark.anyio
@pytest.mark.parametrize("name", CHECKS)
async def test_it_passes(suite: LedgerSuite, name: str) -> None:
    """Of many writers one wins, from many processes too."""
    await suite.run(name)


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("Scan", {}),
        ("PutItem", {"ConditionExpression": "a = :b", "Item": {"s": {"S": "1"}, "id": {"S": "1"}}}),
        ("PutItem", {"ConditionExpression": "size(a) = a", "Item": {"s": {"S": "1"}, "id": {"S": "1"}}}),
        ("UpdateItem", {"UpdateExpression": "SET a = :b"}),
        ("TransactWriteItems", {"TransactItems": [{"Delete": {}}]}),
        ("GetItem", {"TableName": "other"}),
    ],
)
def test_what_it_does_not_know_is_refused(operation: str, more: dict[str, object]) -> None:
    """A condition that is taken for another one would let two writers win."""
    tables = Tables()
    tables.answer("CreateTable", {"TableName": "t"})
    with pytest.raises(No):
        tables.answer(operation, {"TableName": "t", **more})


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("attribute_not_exists(a)", False),
        ("attribute_not_exists(b)", True),
        ("a = :one", True),
        ("a = :two", False),
        ("b = :one", False),
        ("a < :two", True),
        ("a < :one", False),
        ("a <= :one", True),
        ("a = :two OR a = :one", True),
        ("a = :one AND attribute_not_exists(a)", False),
        ("attribute_not_exists(a) OR (a = :one AND (attribute_not_exists(b) OR b = :two))", True),
    ],
)
def test_a_condition_means_what_it_means_to_dynamodb(condition: str, holds: bool) -> None:
    """Both sides of each, as the ledger writes them."""
    values = {":one": {"N": "1"}, ":two": {"N": "2"}}
    assert Condition(condition, values).holds({"a": {"N": "1"}}) is holds
