"""Where AWS credentials come from: given ones, or botocore's chain (variables, files, SSO, roles, the instance).

botocore is asked in a thread and before what it gave runs out, so that no request waits for it: a role's credentials
change every few hours, and the instance's metadata service may take seconds. It saves us a dozen ways to be given
credentials, each with its own rules; nothing else of it is used, least of all on the way of a request.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from oncegate.aws_requests.signature import AwsCredentials

LAST_S = 300
"""How long a driver that keeps credentials by itself may keep these."""
LOOK_AGAIN_S = 60.0
"""botocore refreshes by itself up to 15 minutes ahead; asked once a minute it always has time to."""


class NoCredentials(Exception):
    """There are none, or they cannot be had now; the message is for the operator."""


class GivesCredentials(Protocol):
    """Knows with what to sign."""

    async def current(self) -> AwsCredentials:
        """Return credentials that are good now.

        Raises:
            NoCredentials: there are none.
        """
        ...

    async def aclose(self) -> None:
        """Wait for a look that is under way."""
        ...


class GivenCredentials:
    """Credentials that were written into the configuration."""

    def __init__(self, credentials: AwsCredentials) -> None:
        self._credentials = credentials

    async def current(self) -> AwsCredentials:
        """Return the configured credentials."""
        return self._credentials

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""


class ChainCredentials:
    """Credentials of botocore's chain, looked up in a thread.

    Args:
        profile: of the shared files; empty: the one that the environment names.
        monotonic: a clock in seconds.
    """

    def __init__(self, profile: str = "", *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._profile = profile
        self._monotonic = monotonic
        self._chain: Any = None
        self._found: AwsCredentials | None = None
        self._looked_at = 0.0
        self._why = "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"
        self._looking: asyncio.Task[None] | None = None

    async def current(self) -> AwsCredentials:
        """Return what the chain last gave; only the first call waits for it."""
        if self._looking is None and (self._found is None or self._monotonic() - self._looked_at > LOOK_AGAIN_S):
            self._looking = asyncio.create_task(self._look())
        if self._found is None and self._looking is not None:
            await asyncio.shield(self._looking)
        if self._found is None:
            raise NoCredentials(self._why)
        return self._found

    def look_up(self, environ: Mapping[str, str]) -> AwsCredentials:
        """Ask the chain and wait for its answer; for a command, which has no event loop.

        Args:
            environ: its variables come first in the chain, and with both of them botocore is not loaded (0.3 s).

        Raises:
            NoCredentials: there are none.
        """
        found = self._of_variables(environ) or self._ask_chain()
        if found is None:
            raise NoCredentials(self._why)
        return found

    async def aclose(self) -> None:
        """Wait for a look that is under way: a thread cannot be stopped."""
        if self._looking is not None:
            await asyncio.wait({self._looking})

    async def _look(self) -> None:
        try:
            found = self._of_variables(os.environ) or await asyncio.to_thread(self._ask_chain)
            if found is not None:
                self._found = found
            self._looked_at = self._monotonic()
        finally:
            self._looking = None

    def _of_variables(self, environ: Mapping[str, str]) -> AwsCredentials | None:
        key_id, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        if key_id and secret and not (self._profile or environ.get("AWS_PROFILE")):
            return AwsCredentials(key_id, secret, environ.get("AWS_SESSION_TOKEN", ""))
        return None

    def _ask_chain(self) -> AwsCredentials | None:
        try:
            if self._chain is None:
                session: Any = importlib.import_module("botocore.session").Session(profile=self._profile or None)
                self._chain = session.get_credentials()
            if self._chain is None:
                return None
            frozen: Any = self._chain.get_frozen_credentials()
        except ModuleNotFoundError as missing:
            self._why = (
                f"AWS credentials are looked for with {missing.name}, which is not installed: pip install botocore"
            )
            return None
        except Exception as error:  # noqa: BLE001  botocore's, of any provider: what was found before may still be good
            self._why = f"AWS credentials could not be had: {error}"
            return None
        return AwsCredentials(str(frozen.access_key), str(frozen.secret_key), str(frozen.token or ""))


def provider_of(credentials: GivesCredentials) -> Callable[[], Awaitable[Mapping[str, object]]]:
    """Give the object store's driver the same credentials that our own requests are signed with."""

    async def provide() -> Mapping[str, object]:
        found = await credentials.current()
        return {
            "access_key_id": found.access_key_id,
            "secret_access_key": found.secret,
            "token": found.token or None,
            "expires_at": datetime.now(UTC) + timedelta(seconds=LAST_S),
        }

    return provide
