"""Which public URL a Host means: one rule, and every door that asks it says the same of one table of hosts."""

from __future__ import annotations

import asyncio
import time

import pytest

from oncegate.cli.named_link import read_link
from oncegate.control.explaining import Explanation, explain_link
from oncegate.control.rehearsal import Installation as Asked
from oncegate.gateway.call import head_of
from oncegate.gateway.viewer import Viewers
from oncegate.keys.trust import trust_of
from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.cloudfront import sign_url
from oncegate.links.public_urls import PublicUrls, Reached
from oncegate.links.urls import parse_url
from oncegate.links.verify import verify
from oncegate.settings import Settings, load
from oncegate.stores.directory.store import DirectoryStore
from oncegate.testing.installation import Installation
from oncegate.uses.use import Rules

PUBLIC = ["http://example.com", "http://files.example.com", "https://s.example.org:8443", "http://[::1]"]
# Host of the request; the public URL that it means; the bucket before it; whether it belongs to one
HOSTS = [
    ("example.com", "http://example.com", "", True),
    ("example.com:80", "http://example.com", "", True),
    ("files.example.com", "http://files.example.com", "", True),
    ("files.example.com:80", "http://files.example.com", "", True),
    ("box.files.example.com", "http://files.example.com", "box", True),
    ("my.box.files.example.com", "http://files.example.com", "my.box", True),
    ("box.example.com", "http://example.com", "box", True),
    ("box.example.com:80", "http://example.com", "box", True),
    ("s.example.org:8443", "https://s.example.org:8443", "", True),
    ("box.s.example.org:8443", "https://s.example.org:8443", "box", True),
    ("[::1]", "http://[::1]", "", True),
    ("notexample.com", "http://example.com", "", False),
    ("example.com.evil.test", "http://example.com", "", False),
    ("example.com:8080", "http://example.com", "", False),
    ("s.example.org", "http://example.com", "", False),
    ("com", "http://example.com", "", False),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation with several public URLs, one the parent of another."""
    return Installation(tmp_path_factory.mktemp("home"), tables={"viewer": {"public_url": PUBLIC}})


@pytest.fixture(scope="module")
def settings(home: Installation) -> Settings:
    """Its configuration."""
    return load(home.folder / "oncegate.toml", {})


@pytest.mark.parametrize(("host", "public", "bucket", "is_known"), HOSTS)
def test_a_host_means_the_nearest_public_url(host: str, public: str, bucket: str, *, is_known: bool) -> None:
    """Exactly named before any parent, the nearest parent before the others, whatever their order in the list."""
    url = parse_url(public)
    for urls in (PUBLIC, ["http://example.com", *reversed(PUBLIC)]):
        assert PublicUrls(urls).of_host(host) == Reached(url.scheme, url.host, bucket, is_known)


@pytest.mark.parametrize("host", ["", ".", "..", ".example.com.", "a" * 10_000, "é.example.com", "\x00"])
def test_any_other_text_means_some_public_url(host: str) -> None:
    """A Host is whatever a viewer sent: no text may become part of the URL that is verified."""
    reached = PublicUrls(PUBLIC).of_host(host)
    assert f"{reached.scheme}://{reached.host}" in PUBLIC


def test_without_a_public_url_there_is_no_rule() -> None:
    """An empty list would leave nothing to fall back on."""
    with pytest.raises(ValueError, match="no public URL"):
        PublicUrls([])


@pytest.mark.parametrize(("host", "public", "bucket", "is_known"), HOSTS)
def test_every_door_takes_a_host_for_the_same_public_url(
    home: Installation, settings: Settings, host: str, public: str, bucket: str, *, is_known: bool
) -> None:
    """The gateway served links that ``explain`` called forged, where one public URL is the parent of another."""
    now_s = int(time.time())
    signed = sign_url(f"{public}/a.txt", key=home.signer, expires_s=now_s + 60)
    link = parse_url(signed)
    trust = trust_of(settings, home.keys)
    scope = {"method": "GET", "raw_path": link.path, "query_string": link.query, "headers": [(b"host", host.encode())]}
    request = Viewers(settings.viewer).request_of(head_of(scope), None)
    assert verify(request, trust, now_s=now_s).object_key == "a.txt"
    assert request.bucket == bucket
    url = f"{parse_url(public).scheme}://{host}/a.txt?{link.query.decode()}"
    assert read_link(url, settings, now_s=now_s).grant is not None
    found = {step.name: step.passed for step in _explained(url, home, settings, now_s).steps}
    assert (found["signature"], found["host"]) == (True, is_known)


def _explained(url: str, home: Installation, settings: Settings, now_s: int) -> Explanation:
    async def run() -> Explanation:
        asked = Asked(
            trust=trust_of(settings, home.keys),
            public_urls=settings.viewer.public_url,
            runner=LedgerRunner(MemoryLedger(born_ms=0)),
            born_ms=0,
            accept_from_ms=None,
            confirm="auto",
            store=DirectoryStore(home.objects),
            rules=Rules(),
        )
        return await explain_link(url, asked, now_s=now_s)

    return asyncio.run(run())
