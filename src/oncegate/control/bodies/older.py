"""The calls of the published one-time designs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from oncegate.control.bodies.forms import EXAMPLE_URL, Given, InstantText, Taken


class UrlGiven(Given):
    """The answer of `GET /get-url`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra={"examples": [{"url": EXAMPLE_URL}]})

    url: str


class FileWanted(Taken):
    """The body of `POST /urls`; other members are not looked at."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"file": "reports/2026.pdf"}]}
    )

    file: str = Field(min_length=1, max_length=1_024)


class SignedUrlGiven(Given):
    """The answer of `POST /urls`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra={"examples": [{"signedUrl": EXAMPLE_URL}]})

    signedUrl: str  # noqa: N815  the name is the published one


class S3Object(Given):
    """An object as listObjectsV2 has it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "Key": "reports/2026.pdf",
                    "LastModified": "2026-01-01T00:00:00.000Z",
                    "ETag": '"9b2cf535f27731c9"',
                    "Size": 1024,
                    "StorageClass": "STANDARD",
                }
            ]
        }
    )

    Key: str
    LastModified: InstantText
    ETag: str
    Size: int
    StorageClass: Literal["STANDARD"]
