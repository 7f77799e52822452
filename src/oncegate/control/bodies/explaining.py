"""POST /v1/explain: a link, and check by check whether it would be admitted."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field

from oncegate.control.bodies.forms import EXAMPLE_URL, Given, Instant, Taken, read_address


class ExplainOrder(Taken):
    """A link, and who would open it when."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={"examples": [{"url": EXAMPLE_URL, "address": "203.0.113.7"}]}
    )

    url: str = Field(min_length=1, max_length=20_000)
    method: Literal["GET", "HEAD", "PUT", "POST", "DELETE"] | None = Field(
        default=None, description="Default: what the link is for."
    )
    address: Annotated[str, AfterValidator(read_address)] | None = Field(
        default=None, max_length=64, description="Of the viewer. Default: nobody in particular."
    )
    headers: dict[str, Annotated[str, Field(max_length=8_192)]] = Field(
        default={}, max_length=100, description="Of the request: a signature of S3 may cover some."
    )
    at: Instant | None = Field(default=None, description="Default: now.")


class StepShown(Given):
    """One check."""

    name: str
    passed: bool | None = Field(description="null: not reached.")
    words: str
    reason: str = Field(description="Stable name of the refusal; empty where there is none.")


class Explained(Given):
    """Whether and why a link would be admitted."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "admitted": False,
                    "method": "GET",
                    "id": None,
                    "key": None,
                    "confirm": None,
                    "steps": [
                        {
                            "name": "expiry",
                            "passed": False,
                            "words": "This link has expired.",
                            "reason": "expired",
                        },
                        {"name": "ledger", "passed": None, "words": "not reached", "reason": ""},
                    ],
                }
            ]
        }
    )

    admitted: bool
    method: str
    id: str | None = Field(description="null: the link does not verify.")
    key: str | None
    confirm: Literal["auto", "always", "never"] | None = Field(
        description="When a person is asked first: what the link says, else the viewer's setting. `always`: a program gets 403."
    )
    steps: list[StepShown]
