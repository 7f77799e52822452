"""Calls of AWS's control services, by botocore; every error that an operator can mend is said in their words.

Depends on ``botocore``, loaded when the first call is made: it knows the requests of a dozen services, their retries
and every way to be given credentials. ``AWS_ENDPOINT_URL`` leads it to an emulator, as it does every AWS tool.

Source: botocore's own exceptions; AWS service authorization, "Common errors".
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from oncegate.aws.stacks.options import DeploymentUnfit

_NO_RIGHTS = frozenset(("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "403"))
_NO_CREDENTIALS = frozenset(
    (
        *("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"),
        *("SignatureDoesNotMatch", "InvalidAccessKeyId", "MissingAuthenticationToken"),
    )
)
_GIVE_CREDENTIALS = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in ('aws sso login')"


class SaidNo(Exception):
    """A service said no, and would again.

    Attributes:
        code: as the service names it.
        message: its words.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Cloud:
    """Clients of AWS's services, one for each service and Region.

    Args:
        profile: of the shared files; empty: the usual one.
    """

    def __init__(self, profile: str = "") -> None:
        self._profile = profile
        self._session: Any = None
        self._clients: dict[tuple[str, str], Any] = {}

    def call(self, service: str, operation: str, region: str, **arguments: Any) -> Mapping[str, Any]:
        """Make a call.

        Args:
            service: as botocore names it.
            operation: in snake case.
            region: where.
            arguments: of the call.

        Raises:
            SaidNo: the service did.
            DeploymentUnfit: no credentials, too few rights, or no connection.
        """
        client = self._client(service, region)
        exceptions: Any = importlib.import_module("botocore.exceptions")
        make: Callable[..., Mapping[str, Any]] = getattr(client, operation)
        try:
            return make(**arguments)
        except exceptions.ClientError as error:
            details: Mapping[str, str] = error.response.get("Error", {})
            raise _no_of(f"{service}:{operation}", details.get("Code", ""), details.get("Message", "")) from None
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.TokenRetrievalError):
            raise DeploymentUnfit("there are no AWS credentials", remedy=_GIVE_CREDENTIALS) from None
        except exceptions.BotoCoreError as error:
            raise DeploymentUnfit(
                f"{service} in {region} did not answer: {error}",
                remedy="run it again: it goes on where it stopped",
            ) from None

    def endpoint(self, service: str, region: str) -> str:
        """Where a service is asked."""
        return str(self._client(service, region).meta.endpoint_url)

    def _client(self, service: str, region: str) -> Any:
        if (service, region) not in self._clients:
            try:
                botocore: Any = importlib.import_module("botocore.session")
            except ModuleNotFoundError:
                raise DeploymentUnfit("botocore is not installed", remedy="pip install 'oncegate[aws]'") from None
            if self._session is None:
                self._session = self._opened(botocore)
            self._clients[service, region] = self._session.create_client(service, region_name=region)
        return self._clients[service, region]

    def _opened(self, botocore: Any) -> Any:
        exceptions: Any = importlib.import_module("botocore.exceptions")
        try:
            return botocore.Session(profile=self._profile or None)
        except exceptions.ProfileNotFound:
            raise DeploymentUnfit(f"there is no profile {self._profile}", where="--profile") from None


def _no_of(call: str, code: str, message: str) -> SaidNo | DeploymentUnfit:
    if code in _NO_CREDENTIALS:
        return DeploymentUnfit(f"the AWS credentials are not taken ({code})", remedy=_GIVE_CREDENTIALS)
    if code in _NO_RIGHTS:
        return DeploymentUnfit(f"too few rights for {call}: {message}", remedy="grant them, and run it again")
    return SaidNo(code, message)
