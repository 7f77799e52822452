"""Complete the software bill of materials that ``cyclonedx-py environment`` wrote; scripts/release calls it.

    tools/finish_sbom.py FILE VERSION    the finished document, on stdout

What that tool cannot see in an environment: the version of a package whose ``pyproject.toml`` computes it, and files of
another project inside the package (Swagger UI). The result is validated against the schema once more.
"""

from __future__ import annotations

import base64
import json
import pathlib
import sys
from typing import Any

import get_swagger_ui  # the file beside this one
from cyclonedx.schema import SchemaVersion  # where scripts/release runs this
from cyclonedx.validation.json import JsonStrictValidator


def finished(document: dict[str, Any], version: str) -> dict[str, Any]:
    """Add the version of oncegate, and Swagger UI with the hash of its archive.

    Args:
        document: as ``cyclonedx-py environment --pyproject`` wrote it; it is changed.
        version: of oncegate.
    """
    root = document["metadata"]["component"]
    root |= {"version": version, "purl": f"pkg:pypi/oncegate@{version}"}
    shipped = f"pkg:npm/swagger-ui-dist@{get_swagger_ui.VERSION}"
    algorithm, _, digest = get_swagger_ui.INTEGRITY.partition("-")
    assert algorithm == "sha512"
    document["components"].append(
        {
            "bom-ref": shipped,
            "type": "library",
            "name": "swagger-ui-dist",
            "version": get_swagger_ui.VERSION,
            "purl": shipped,
            "description": "Served at /docs of the control listener; its files are inside the package",
            "licenses": [{"expression": "Apache-2.0 AND MIT AND BSD-3-Clause"}],
            "hashes": [{"alg": "SHA-512", "content": base64.b64decode(digest).hex()}],
        }
    )
    document["dependencies"].append({"ref": shipped})
    (own,) = (entry for entry in document["dependencies"] if entry["ref"] == root["bom-ref"])
    own["dependsOn"] = sorted([*own.get("dependsOn", ()), shipped])
    return document


def main() -> int:
    """Print the finished document, or what the schema says against it."""
    path, version = sys.argv[1:]
    text = json.dumps(finished(json.loads(pathlib.Path(path).read_text()), version), indent=2)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong:
        raise SystemExit(f"not as the schema of CycloneDX 1.6 has it: {wrong}")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
