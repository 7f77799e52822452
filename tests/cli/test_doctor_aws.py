"""``oncegate doctor`` before S3 and DynamoDB, well and broken."""

from __future__ import annotations

import json
import pathlib
import time

import pytest

from oncegate.ledgers.opening import migrate_ledger
from oncegate.testing.servers.object_stores import store_options

pytestmark = pytest.mark.usefixtures("aws_environment")
SOON_S = 15.0


def look(invoke, monkeypatch: pytest.MonkeyPatch, status: int, **settings: object) -> dict[str, tuple[str, str]]:
    """Run the command; by name of the part its state, and words with the remedy."""
    for name, value in {"VIEWER__PUBLIC_URL": "http://127.0.0.1:1", **settings}.items():
        monkeypatch.setenv(f"ONCEGATE_{name}", value if isinstance(value, str) else json.dumps(value))
    begun_s = time.monotonic()
    done = invoke("doctor", "--json")
    assert time.monotonic() - begun_s < SOON_S
    checks = json.loads(done.stdout)["checks"]
    assert done.exit_code == status, checks
    return {check["name"]: (check["state"], f"{check['words']} -> {check['remedy']}") for check in checks}


def test_tables_and_buckets_well_missing_and_away(
    invoke, folder: pathlib.Path, ministack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is named, with what to do; a server that hangs is given up within seconds, whatever its driver would do."""
    table = f"dynamodb://doctored?region=us-east-1&endpoint={ministack.url}"
    for name in ("objects", "uses"):
        ministack.make_bucket(name)
    bucket = f"s3://uses?region=us-east-1&allow_http=true&endpoint={ministack.url}"
    store = {"STORE__URL": "s3://objects", "STORE__OPTIONS": store_options(ministack.url)}

    def seen(status: int, **settings: object) -> dict[str, tuple[str, str]]:
        return look(invoke, monkeypatch, status, **{**store, **settings})

    missing = seen(1, LEDGER__URL=table)["ledger"]
    assert missing[0] == "failed"
    assert "-> run 'oncegate ledger migrate'" in missing[1]
    migrate_ledger(table, folder=folder)
    for url in (table, bucket):
        found = seen(0, LEDGER__URL=url)
        assert (found["ledger"][0], found["store"][0]) == ("ok", "ok"), url
    nowhere = seen(1, LEDGER__URL=bucket.replace("uses", "not-there"), STORE__URL="s3://not-there")
    for part in ("ledger", "store"):
        assert nowhere[part][0] == "failed"
        assert "no such bucket" in nowhere[part][1]
        assert "-> make it" in nowhere[part][1]
    ministack.freeze()
    try:
        hung = seen(1, LEDGER__URL=bucket)
        for part, remedy in (("ledger", "check endpoint, allow_http and the network"), ("store", "start the server")):
            assert hung[part][0] == "failed"
            assert f"-> {remedy}" in hung[part][1], hung
    finally:
        ministack.thaw()
