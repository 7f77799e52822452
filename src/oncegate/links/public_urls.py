"""Which public URL a Host header means, and which bucket stands before it. The one copy of that rule.

The gateway asks it with the Host of a request; ``explain`` and the command line ask it with the host of a link.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from oncegate.links.request import ViewerRequest
from oncegate.links.urls import DEFAULT_PORTS, parse_url


class Reached(NamedTuple):
    """The public URL that a Host means.

    Attributes:
        scheme: of the public URL.
        host: of the public URL, lower case.
        bucket: what stood before it in the Host (S3's virtual-hosted style); empty where nothing did.
        is_known: False where the Host belongs to no public URL, so that the first one is taken.
    """

    scheme: str
    host: str
    bucket: str = ""
    is_known: bool = True


class PublicUrls:
    """The public URLs of one configuration."""

    def __init__(self, urls: Iterable[str]) -> None:
        """Read them.

        Args:
            urls: scheme and host each; the first is for a Host that belongs to none.

        Raises:
            ValueError: one is no http or https URL, or there is none.
        """
        self._by_host: dict[str, Reached] = {}
        for url in map(parse_url, urls):
            for host in (url.host, url.host + DEFAULT_PORTS[url.scheme]):
                self._by_host.setdefault(host, Reached(url.scheme, url.host))
        if not self._by_host:
            raise ValueError("there is no public URL")
        # never the Host itself: it would become part of the URL that is verified
        self._unknown = next(iter(self._by_host.values()))._replace(is_known=False)
        # the nearest parent is the one with the longest name
        self._parents = sorted(((f".{host}", reached) for host, reached in self._by_host.items()), key=_length)

    def of_host(self, host: str) -> Reached:
        """Which public URL a Host header means.

        Args:
            host: lower case, with a port where one was sent.

        Returns:
            The public URL of just this host, else the nearest parent domain, as S3's virtual-hosted style has it
            (``bucket.files.example.com``), else the first.
        """
        found = self._by_host.get(host)
        if found is not None:
            return found
        for parent, reached in self._parents:
            if host.endswith(parent):
                return reached._replace(bucket=host.removesuffix(parent))
        return self._unknown

    def request_to(self, url: str, *, address: str | None = None) -> tuple[ViewerRequest, Reached]:
        """The GET of a viewer who follows a link.

        Args:
            url: the whole link.
            address: the viewer's, in canonical form; None: nobody in particular.

        Raises:
            ValueError: no absolute http or https URL.
        """
        link = parse_url(url)
        reached = self.of_host(link.host)
        request = ViewerRequest(
            method="GET",
            scheme=reached.scheme,
            host=reached.host,
            path=link.path,
            query=link.query,
            headers=((b"host", link.host.encode()),),
            address=address,
            address_is_proof=address is not None,
            bucket=reached.bucket,
        )
        return request, reached


def _length(parent: tuple[str, Reached]) -> int:
    return -len(parent[0])
