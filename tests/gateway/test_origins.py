"""Whose request it is and where it was meant for: proxies, hosts, other sites. Nothing that a viewer writes is believed."""

from collections.abc import Callable
from typing import Any

import pytest

from homes import Home
from oncegate.gateway.viewer import HOPS_MAX
from oncegate.links.grant import Scheme
from oncegate.testing.raw_http import RawConnection, ask, target_of

PROXY, VIEWER = "127.0.0.9", "203.0.113.7"
BEHIND_PROXY = {"viewer": {"trusted_proxies": ["127.0.0.9", "10.0.0.0/8"]}}
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}


def address_logged(home, url, until):
    """The address that the log has for the last request to a link."""
    link_id = url.partition("once=g.")[2][:22]

    def find():
        return [line for line in home.serving.log_lines() if line.get("link_id") == link_id]

    return until(find, "the line of the request")[-1].get("address")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        (PROXY, VIEWER, VIEWER),
        (PROXY, f"198.51.100.1, {VIEWER}", VIEWER),
        (PROXY, f"{VIEWER}, 10.1.2.3", VIEWER),
        (PROXY, f"{VIEWER}:4711", VIEWER),
        (PROXY, "::ffff:203.0.113.7", VIEWER),
        (PROXY, "[2001:db8::1]:443", "2001:db8::1"),
        (PROXY, "unknown", None),
        (PROXY, None, PROXY),
        ("127.0.0.1", VIEWER, "127.0.0.1"),
    ],
)
def test_only_a_trusted_proxy_says_for_whom_it_asks(
    gateway_with: Callable[..., Home],
    until: Callable[..., Any],
    peer: str,
    forwarded_for: str | None,
    expected: str | None,
) -> None:
    """The rightmost address that is no trusted proxy; what stands left of it anyone can write (T29)."""
    home = gateway_with(**BEHIND_PROXY)
    url = home.fresh(b"x")
    headers = {} if forwarded_for is None else {"X-Forwarded-For": forwarded_for}
    assert ask("GET", url, headers, source=peer).status == 200
    assert address_logged(home, url, until) == expected


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("forwarded", f"for={VIEWER};proto=https"),
        ("forwarded", f'for=192.0.2.60, for="{VIEWER}:8080";host=evil'),
        ("x-real-ip", VIEWER),
        ("cf-connecting-ip", VIEWER),
    ],
)
def test_another_header_can_be_the_one_that_is_believed(
    gateway_with: Callable[..., Home], until: Callable[..., Any], header: str, value: str
) -> None:
    """One header by name, and no other: X-Forwarded-For is then what a viewer wrote."""
    home = gateway_with(viewer={"trusted_proxies": [PROXY], "proxy_header": header})
    url = home.fresh(b"x")
    assert ask("GET", url, {header: value, "X-Forwarded-For": "198.51.100.66"}, source=PROXY).status == 200
    assert address_logged(home, url, until) == VIEWER


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        (f'for={VIEWER};host="for=198.51.100.1"', VIEWER),
        (f'for={VIEWER};host="x;for=198.51.100.1, for=198.51.100.2"', VIEWER),
        (f"for={VIEWER}:4711;host=files.example:8080", VIEWER),
        (f'for="[2001:db8::1]:443";by=10.0.0.1;xfor={VIEWER}', "2001:db8::1"),
        (f'for=198.51.100.1, x=", for={VIEWER};host="h"', PROXY),
        (f'for=198.51.100.1, x=", for={VIEWER}', PROXY),
    ],
)
def test_quoted_host_in_forwarded_names_no_address(
    gateway_with: Callable[..., Home], until: Callable[..., Any], forwarded: str, expected: str | None
) -> None:
    """A proxy copies the viewer's Host into the header, quoted: an address in it is not the proxy's word.

    A header that the viewer broke with a quotation mark of his own says nothing at all.
    """
    home = gateway_with(viewer={"trusted_proxies": [PROXY], "proxy_header": "forwarded"})
    url = home.fresh(b"x")
    assert ask("GET", url, {"Forwarded": forwarded}, source=PROXY).status == 200
    assert address_logged(home, url, until) == expected


def test_holder_behind_a_proxy_is_known_by_his_own_address(gateway_with: Callable[..., Home]) -> None:
    """All come by one peer; the address that the trusted proxy names tells them apart."""
    home = gateway_with(**BEHIND_PROXY)
    url = home.fresh(b"x" * 1000)
    first = {"X-Forwarded-For": VIEWER}
    assert ask("GET", url, {"Range": "bytes=0-99", **first}, source=PROXY).status == 206
    assert ask("GET", url, {"Range": "bytes=100-", "X-Forwarded-For": "203.0.113.8"}, source=PROXY).status == 403
    assert ask("GET", url, {"Range": "bytes=100-"}, source=PROXY).status == 403
    assert ask("GET", url, {"Range": "bytes=100-", **first}, source=PROXY).status == 206


def test_ipv6_holder_is_his_network(gateway_with: Callable[..., Home]) -> None:
    """Phones change the lower half of their IPv6 address by the hour; the /64 is theirs."""
    home = gateway_with(**BEHIND_PROXY)
    url = home.fresh(b"x" * 1000)

    def part(asked, address):
        return ask("GET", url, {"Range": asked, "X-Forwarded-For": address}, source=PROXY).status

    assert part("bytes=0-99", "2001:db8:1:2::1") == 206
    assert part("bytes=100-199", "2001:db8:1:3::1") == 403
    assert part("bytes=100-199", "2001:db8:1:2:ffff::9") == 206


def test_policy_for_an_address_holds(gateway: Home) -> None:
    """A link for one network is for nobody else: refused before anything is read, in words for who holds it."""
    url = gateway.fresh(b"x", source_ip="127.0.0.4/31", uses=2)
    assert ask("GET", url, source="127.0.0.6").status == 403
    assert ask("GET", url).status == 403
    assert gateway.record(url) is None
    assert "This link is for another network address." in ask("GET", url, {"Accept": "application/json"}).text
    assert ask("GET", url, source="127.0.0.5").status == 200


def test_policy_for_an_address_is_refused_when_a_stranger_forwards(gateway: Home) -> None:
    """A proxy that nobody configured would lend its own address to all of its viewers."""
    url = gateway.fresh(b"x", source_ip="127.0.0.1")
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        assert ask("GET", url, {name: "127.0.0.1"}).status == 403
    assert ask("GET", url).status == 200


def test_policy_for_an_address_behind_a_proxy(gateway_with: Callable[..., Home]) -> None:
    """Behind a trusted proxy it is the viewer's address that counts, and a proxy that names nobody proves nothing."""
    home = gateway_with(**BEHIND_PROXY)
    url = home.fresh(b"x", source_ip=VIEWER)
    assert ask("GET", url, source=PROXY).status == 403
    assert ask("GET", url, {"X-Forwarded-For": f"{VIEWER}, 198.51.100.9"}, source=PROXY).status == 403
    assert ask("GET", url, {"X-Forwarded-For": VIEWER}, source="127.0.0.1").status == 403
    assert ask("GET", url, {"X-Forwarded-For": VIEWER}, source=PROXY).status == 200
    its_own = home.fresh(b"x", source_ip=PROXY)
    assert ask("GET", its_own, source=PROXY).status == 403, "a proxy's own address would let in all of its viewers"


def test_each_public_url_serves_links_that_carry_it(gateway_with: Callable[..., Home]) -> None:
    """Host picks one of the configured URLs; a link for the one does not open under the other."""
    home = gateway_with(viewer={"public_url": ["http://files.example", "https://dl.example:8443"]})
    at = f"http://127.0.0.1:{home.port}"
    for public in ("http://files.example", "https://dl.example:8443"):
        home.public_url = public
        url = home.fresh(b"x", scheme=Scheme.CUSTOM)
        other = {"http://files.example": "dl.example:8443", "https://dl.example:8443": "files.example"}[public]
        assert ask("GET", url, {"Host": other}, at=at).status == 403
        assert ask("GET", url, at=at).status == 200


def test_unknown_host_is_the_first_public_url(gateway: Home) -> None:
    """A health check or a proxy that rewrites Host: the link is for the public URL whatever the name was."""
    for host in ("internal-name", "evil.example", "127.0.0.1"):
        assert ask("GET", gateway.fresh(b"x"), {"Host": host}).status == 200


def test_forwarded_host_and_proto_are_never_read(gateway_with: Callable[..., Home]) -> None:
    """What X-Forwarded-Host says goes nowhere: into no signature, no redirect, no cookie."""
    home = gateway_with(**BEHIND_PROXY)
    url = home.fresh(b"x")
    lies = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "1"}
    pressed = ask("POST", url, {**lies, "Sec-Fetch-Site": "same-origin"}, source=PROXY)
    assert pressed.header("location") == target_of(url)
    assert "Secure" not in pressed.header("set-cookie")
    assert "evil" not in "".join(value for _, value in pressed.headers)
    assert ask("GET", url, lies, source=PROXY).status == 200


def test_two_hosts_are_refused(gateway: Home) -> None:
    """Two Host headers mean two things to two programs on the way (RFC 9112 3.2: 400)."""
    url = gateway.fresh(b"x")
    host = gateway.public_url[7:]
    with RawConnection(url) as connection:
        connection.send(f"GET {target_of(url)} HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n".encode())
        assert connection.read_answer().status == 400
    assert gateway.record(url) is None
    assert ask("GET", url).status == 200


def test_absolute_target_is_read_as_its_path(gateway: Home) -> None:
    """RFC 9112 3.2.2 lets a request line hold a whole URL; its host is no more believed than Host."""
    url = gateway.fresh(b"x")
    with RawConnection(url) as connection:
        connection.send_request("GET", f"http://evil.example{target_of(url)}", host=gateway.public_url[7:])
        assert connection.read_answer().status in (200, 400, 403)


def test_path_with_two_slashes_is_no_way_to_another_host(gateway: Home) -> None:
    """``//evil.example/…`` in a Location is another site: such a path is refused, and never comes back in a redirect."""
    for target in ("//evil.example/x", "/\\evil.example", "//evil.example/%2e%2e?once=g.x"):
        with RawConnection(gateway.public_url) as connection:
            connection.send_request(
                "POST", target, host=gateway.public_url[7:], headers={"Sec-Fetch-Site": "same-origin"}
            )
            answer = connection.read_answer()
        assert 400 <= answer.status < 500
        assert answer.header("location") is None


def test_cors_answers_only_the_configured_origins(gateway_with: Callable[..., Home]) -> None:
    """A page of a configured origin may read the answer; others may not, and no credentials go along."""
    home = gateway_with(viewer={"cors_origins": ["https://app.example"]})
    allowed = ask("GET", home.fresh(b"x"), {"Origin": "https://app.example"})
    assert (allowed.status, allowed.header("access-control-allow-origin")) == (200, "https://app.example")
    assert "content-range" in allowed.header("access-control-expose-headers")
    assert "origin" in allowed.header("vary").lower()
    assert allowed.header("access-control-allow-credentials") is None
    for origin in ("https://evil.example", "https://app.example.evil.example", "null", "http://app.example"):
        other = ask("GET", home.fresh(b"x"), {"Origin": origin})
        assert (other.status, other.header("access-control-allow-origin")) == (200, None)


def test_cors_also_on_refusals(gateway_with: Callable[..., Home]) -> None:
    """A script has to see that a link was used: without the header it sees a network error."""
    home = gateway_with(viewer={"cors_origins": ["https://app.example"]})
    url = home.fresh(b"x")
    assert ask("GET", url).status == 200
    refused = ask("GET", url, {"Origin": "https://app.example"})
    assert (refused.status, refused.header("access-control-allow-origin")) == (403, "https://app.example")


def test_preflight_is_answered_without_looking_at_the_link(gateway_with: Callable[..., Home]) -> None:
    """Browsers send OPTIONS before a PUT of another origin: methods and headers, nothing of the link, nothing spent."""
    home = gateway_with(viewer={"cors_origins": ["*"]})
    url = home.upload()
    asked = {
        "Origin": "https://any.example",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }
    for target in (url, f"{home.public_url}/no-link"):
        answer = ask("OPTIONS", target, asked)
        assert answer.status == 204
        assert answer.header("access-control-allow-origin") == "*"
        assert "PUT" in answer.header("access-control-allow-methods")
        assert answer.header("access-control-allow-headers") == "content-type"
    assert home.record(url) is None
    assert ask("PUT", url, {"Origin": "https://any.example"}, body=b"x").header("etag")


def test_preflight_of_strangers_allows_nothing(gateway: Home) -> None:
    """Without configured origins the answer has no word of CORS."""
    answer = ask("OPTIONS", gateway.upload(), {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"})
    assert answer.status == 204
    assert not [name for name, _ in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "TRACE", "PROPFIND", "get", "POSTED"])
def test_other_methods_are_403(gateway: Home, method: str) -> None:
    """This listener serves links: whatever else is asked gets CloudFront's refusal and changes nothing."""
    url = gateway.fresh(b"x")
    assert 400 <= ask(method, url).status < 500
    assert ask("GET", url).body == b"x"


@pytest.mark.parametrize(("hops", "status"), [(HOPS_MAX - 1, 200), (HOPS_MAX, 403)])
def test_a_long_way_through_proxies_proves_no_address(
    gateway_with: Callable[..., Home], hops: int, status: int
) -> None:
    """Each hop costs a look at an address, and a viewer can write thousands of them."""
    home = gateway_with(**BEHIND_PROXY)
    url = home.fresh(b"x", source_ip=VIEWER)
    named = ", ".join([VIEWER, *(f"10.0.0.{number}" for number in range(1, hops + 1))])
    assert ask("GET", url, {"X-Forwarded-For": named}, source=PROXY).status == status
