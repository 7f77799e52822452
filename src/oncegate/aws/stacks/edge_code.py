"""The edge function as it is sent: the joined file, with its configuration in front. Lambda@Edge has no variables.

The one secret, with which claim ids are made, is no part of the text: CloudFormation puts it in from a parameter that
it shows to nobody, so a template can be read, kept and compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources

from oncegate.aws.stacks.options import DeploymentUnfit, Options

CODE_MAX_BYTES = 1 << 20
"""Lambda@Edge takes a package of 1 MB at viewer request, zipped; our choice: not zipped neither."""
CLAIM_KEY_MARK = "@@CLAIM-KEY@@"
"""Where the secret goes; no JSON text of a configuration holds it by chance."""


def joined_code() -> str:
    """The edge function as it was joined for this version.

    Raises:
        DeploymentUnfit: this installation does not have it.
    """
    try:
        return resources.files("oncegate.aws").joinpath("generated", "edge.py").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DeploymentUnfit(
            "this installation has no edge function", remedy="in a checkout: python tools/join_edge.py"
        ) from None


def configuration_of(options: Options) -> Mapping[str, object]:
    """What the edge function is told of a deployment; of the secret only where it goes."""
    return {
        "table": options.name,
        "homes": {home.name: home.region for home in options.homes},
        "confirm": options.confirm,
        "cors_origins": list(options.cors_origins),
        "plain_links": options.plain_links,
        "claim_key": CLAIM_KEY_MARK,
    }


def configured(code: str, configuration: Mapping[str, object]) -> str:
    """Put a configuration in front of the joined file.

    Args:
        code: Python, as ``joined_code`` reads it.
        configuration: what JSON can hold.

    Raises:
        DeploymentUnfit: it is longer than Lambda@Edge takes.
    """
    text = json.dumps(configuration, sort_keys=True)
    whole = f"CONFIGURATION = {text!r}\n{code}"
    if len(whole.encode()) > CODE_MAX_BYTES:
        raise DeploymentUnfit(f"the edge function is longer than {CODE_MAX_BYTES} bytes")
    return whole


def digest_of(code: str) -> str:
    """What tells one edge function from another: of the code and its configuration."""
    return hashlib.sha256(code.encode()).hexdigest()[:12]
