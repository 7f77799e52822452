"""Write docs/aws/example-{home,edge,api}.json, or check that they are as the code writes them.

    tools/gen_aws_examples.py            write
    tools/gen_aws_examples.py --check    say what differs, exit status 1

The function's code is left out of the example: it is src/oncegate/aws/generated/edge.py, 1,500 lines.
"""

from __future__ import annotations

import difflib
import pathlib
import sys
from collections.abc import Mapping

from oncegate.aws.stacks.api import api_template
from oncegate.aws.stacks.edge import edge_template
from oncegate.aws.stacks.home import home_template
from oncegate.aws.stacks.options import Api, Home, Options
from oncegate.aws.stacks.template import text_of

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "aws"
PEM = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEc+HwUSpl+ks8v/dPXbEvqlmejfFc
Rm0heXnWBLKmSkWU9bsRPUvbFxayV2huvRKlqY6U92OGlkhhh4qj0OXTjg==
-----END PUBLIC KEY-----
"""
OPTIONS = Options(
    name="acme",
    homes=(Home("eu-central-1"),),
    bucket="acme-objects",
    uploads=("inbox/",),
    public_keys=(PEM,),
    api=Api(),
)
DISTRIBUTION = "arn:aws:cloudfront::111122223333:distribution/EDFDVBD6EXAMPLE"
CODE = "# here stands src/oncegate/aws/generated/edge.py\n"


def examples() -> Mapping[str, str]:
    """The text of each example by the name of its file."""
    home = home_template(OPTIONS, OPTIONS.first, distribution_arn=DISTRIBUTION)
    return {
        "example-home.json": text_of(home, is_pretty=True),
        "example-api.json": text_of(api_template(OPTIONS), is_pretty=True),
        "example-edge.json": text_of(edge_template(OPTIONS, CODE), is_pretty=True),
    }


def main() -> int:
    """Write, or compare."""
    is_check = sys.argv[1:] == ["--check"]
    status = 0
    for name, text in examples().items():
        path = FOLDER / name
        stands = path.read_text() if path.exists() else ""
        if is_check and stands != text:
            lines = difflib.unified_diff(stands.splitlines(), text.splitlines(), str(path), "as the code says", "")
            print("\n".join(list(lines)[:40]))
            status = 1
        elif not is_check:
            path.write_text(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
