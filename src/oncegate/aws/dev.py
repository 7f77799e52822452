"""``oncegate aws dev``: the whole edge on one machine, without an account: template, function, table, bucket, referee.

The template is the one that would be deployed, the function the one that would be published; table and bucket are in
memory and gone at the end. A configuration is written, with which links are made and looked at from another shell.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oncegate.atomic_file import replace_file
from oncegate.aws.referee.buckets import MemoryBucket
from oncegate.aws.referee.distribution import read_template
from oncegate.aws.referee.served import Served
from oncegate.aws.referee.site import Site
from oncegate.aws.referee.table import Tables, TableServer
from oncegate.aws.stacks.edge import CLAIM_KEY, edge_template
from oncegate.aws.stacks.edge_code import joined_code
from oncegate.aws.stacks.home import bucket_statements
from oncegate.aws.stacks.options import EDGE_REGION, Home, Options
from oncegate.keys.rotation import KeyPlaces, make_key
from oncegate.ledgers.dynamodb.items import BORN_KEY

NAME = "oncegate-dev"
BUCKET = "oncegate-dev-objects"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "dev", "AWS_SECRET_ACCESS_KEY": "dev"}
"""The table takes any; the ledger's client wants some."""
SAMPLE = ("hello.txt", b"You may read this once.\n")
OBJECT_MAX_BYTES = 64 << 20

_TEMPLATE = """\
# written by 'oncegate aws dev' for as long as it runs
[viewer]
public_url = "http://127.0.0.1:{port}"
[links]
plain_links = "refuse"
[store]
url = "file:./objects"
[ledger]
url = "dynamodb://{name}?region={region}&endpoint={endpoint}"
[keys]
group = "./keys"
signing = "./private/{key_id}.pem"
"""


class Dev:
    """A running edge.

    Args:
        folder: for configuration, keys and ``objects/``, whose files are served; made where it is missing.
        port: 0: a free one.
    """

    def __init__(self, folder: Path, *, port: int) -> None:
        (folder / "objects").mkdir(parents=True, exist_ok=True)
        sample = folder / "objects" / SAMPLE[0]
        if not any((folder / "objects").iterdir()):
            sample.write_bytes(SAMPLE[1])
        self._table = TableServer(_ledger())
        key_id, pem = _key(folder)
        options = Options(name=NAME, homes=(Home(EDGE_REGION),), bucket=BUCKET, signing="own", public_keys=(pem,))
        template = edge_template(options, joined_code())
        (logical_id,) = (name for name, each in _resources(template) if each["Type"] == "AWS::CloudFront::PublicKey")
        parameters = {CLAIM_KEY: secrets.token_urlsafe(32)}
        distribution = read_template(template, parameters=parameters, ids={logical_id: key_id})
        policy = {"Statement": bucket_statements(options, distribution.arn)}
        self.bucket: MemoryBucket = MemoryBucket(_objects(folder / "objects"), BUCKET)
        environ = {"AWS_ENDPOINT_URL_DYNAMODB": self._table.url, **CREDENTIALS}
        site = Site(distribution, self.bucket, bucket_policy=lambda: policy, environ=environ)
        self.served: Served = Served(site, distribution.domain, bucket=self.bucket, port=port)
        self.config: Path = folder / "oncegate.toml"
        text = _TEMPLATE.format(
            port=self.served.port, name=NAME, region=EDGE_REGION, endpoint=self._table.url, key_id=key_id
        )
        replace_file(self.config, text.encode(), mode=0o644)

    def close(self) -> None:
        """End it; table and uploads are gone."""
        self.served.close()
        self._table.close()


def _ledger() -> Tables:
    """A table that says when it was created; without that the edge serves nothing."""
    tables = Tables()
    tables.answer("CreateTable", {"TableName": NAME})
    born = {**BORN_KEY, "ms": {"N": str(time.time_ns() // 1_000_000)}}
    tables.answer("PutItem", {"TableName": NAME, "Item": born})
    return tables


def _key(folder: Path) -> tuple[str, str]:
    """The key that signs here: the one of an earlier run, or a new one."""
    places = KeyPlaces(folder / "keys", folder / "private")
    found = sorted((folder / "keys").glob("*.pem")) if (folder / "keys").exists() else []
    if not found:
        (folder / "keys").mkdir(exist_ok=True)
        make_key(places, "ecdsa")
        found = sorted((folder / "keys").glob("*.pem"))
    return found[0].stem, found[0].read_text()


def _resources(template: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(template["Resources"].items())


def _objects(folder: Path) -> Mapping[str, bytes]:
    """The files of a folder as objects, but for those that are too large to be held in memory."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.stat().st_size <= OBJECT_MAX_BYTES
    }
