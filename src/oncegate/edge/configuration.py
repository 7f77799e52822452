"""What the function is told of its deployment. Lambda@Edge has no variables: it stands in front of the joined file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from oncegate.links.asking import ConfirmSetting
from oncegate.links.key_group import KeyGroup
from oncegate.links.verify import Trust

CONFIGURATION = '{"table": "oncegate", "homes": {}, "claim_key": ""}'
"""Not joined: the deployment writes a line of this name, with its own values."""


class Configuration(NamedTuple):
    """One deployment.

    Attributes:
        table: name of the table, the same in every home.
        homes: from names of homes, as tickets have them, to regions; the empty name is for tickets without a home.
        claim_key: drawn at deploy; claim ids are made with it, so that no viewer can name one.
        confirm: when a person is asked before a download.
        cors_origins: sites whose pages may read answers.
        trust: the homes, and what links without a ticket are worth.
    """

    table: str
    homes: Mapping[str, str]
    claim_key: bytes
    confirm: ConfirmSetting
    cors_origins: tuple[str, ...]
    trust: Trust


def read_configuration(text: str) -> Configuration:
    """Read the JSON that a deployment writes.

    Raises:
        ValueError: not JSON, or plain links that nobody can count here.
        KeyError: a member is missing.
    """
    given = json.loads(text)
    plain_links = given.get("plain_links", "refuse")
    if plain_links == "once":
        raise ValueError("plain links cannot be counted at the edge")
    return Configuration(
        table=given["table"],
        homes=given["homes"],
        claim_key=given["claim_key"].encode(),
        confirm=given.get("confirm", "auto"),
        cors_origins=tuple(given.get("cors_origins", ())),
        trust=Trust(keys=KeyGroup({}), plain_links=plain_links, homes=frozenset(given["homes"])),
    )
