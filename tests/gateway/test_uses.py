"""One link, one use: who may have which bytes, counted, whatever is asked, cut or overlapped (docs/promises.md)."""

import contextlib
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

from homes import Home
from oncegate.links.grant import Scheme
from oncegate.testing.raw_http import RawConnection, ask, target_of
from oncegate.uses.record import EMPTY
from oncegate.uses.use import revoke, slack_bytes

MIB = 1024 * 1024
USED = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>This link has been used.</Message></Error>'
NEIGHBOUR = "127.0.0.2"


@contextlib.contextmanager
def reading(url, headers=(), *, source=None, take_bytes=1000):
    """A download that is under way: its head was read, and a little of its body, by somebody slow."""
    with RawConnection(url, source=source) as connection:
        connection.send_request("GET", target_of(url), host=url[7:].partition("/")[0], headers=headers)
        head = connection.read_head()
        connection.read_some(take_bytes)
        yield connection, head


def cookie_of(url, answer):
    """The Cookie header of whoever got this answer."""
    assert answer.cookie.startswith("og-")
    return {"Cookie": answer.cookie}


def test_second_get_is_refused_in_words(gateway: Home) -> None:
    """The second GET has AWS's code and says what is the matter; not a byte of the object is in it."""
    url = gateway.fresh(b"secret bytes")
    assert ask("GET", url).body == b"secret bytes"
    for source in (None, NEIGHBOUR):
        again = ask("GET", url, source=source)
        assert (again.status, again.body) == (403, USED)


def test_s3_link_is_refused_in_s3_words(gateway_with: Callable[..., Home]) -> None:
    """Programs that speak S3 read S3's error body: two lines, with a request id."""
    home = gateway_with(credentials={"AKTEST": "secret-of-the-tests"})
    url = home.fresh(b"x", scheme=Scheme.S3)
    assert ask("GET", url).status == 200
    again = ask("GET", url)
    assert again.header("content-type") == "application/xml"
    assert "<Code>AccessDenied</Code><Message>This link has been used.</Message><RequestId>" in again.text


def test_head_and_options_spend_nothing_and_head_of_a_spent_link_is_403(gateway: Home) -> None:
    """A look may not cost the use; and ``curl -I`` may not say 200 for a link that is dead."""
    url = gateway.fresh(b"x" * 10)
    assert [ask("HEAD", url).status for _ in range(3)] == [200] * 3
    assert ask("OPTIONS", url).status == 204
    assert gateway.record(url) is None
    assert ask("GET", url).status == 200
    assert ask("HEAD", url, source=NEIGHBOUR).status == 403


def test_three_uses_are_three(gateway: Home) -> None:
    """uses=3: three strangers get it whole, the fourth nothing."""
    url = gateway.fresh(b"thrice", uses=3)
    assert [ask("GET", url, {"Cookie": "stranger=1"}).status for _ in range(5)] == [200, 200, 200, 403, 403]


def test_revoked_link_is_refused_for_get_head_and_the_holder(gateway: Home) -> None:
    """Revoking holds from the next request on, also for who has begun: no new claim, no further range."""
    url = gateway.fresh(b"x" * 1000)
    part = ask("GET", url, {"Range": "bytes=0-9"})
    assert part.status == 206
    gateway.change_record(url, revoke)
    again = ask("GET", url, {"Range": "bytes=10-19", **cookie_of(url, part)})
    assert again.status == 403
    assert "This link has been revoked." in again.text
    unopened = gateway.fresh(b"y")
    gateway.change_record(unopened, revoke)
    assert ask("HEAD", unopened).status == 403
    assert ask("GET", unopened).status == 403


def test_holder_by_cookie_reads_the_rest(gateway: Home) -> None:
    """Who shows the claim's cookie continues, from any address: a phone changes networks under way."""
    data = bytes(range(250)) * 40
    url = gateway.fresh(data)
    first = ask("GET", url, {"Range": "bytes=0-3999"})
    rest = ask("GET", url, {"Range": "bytes=4000-", **cookie_of(url, first)}, source=NEIGHBOUR)
    assert (first.status, rest.status) == (206, 206)
    assert first.body + rest.body == data
    assert ask("GET", url, {"Range": "bytes=4000-", **cookie_of(url, first)}).status == 403


def test_cookie_is_narrow(gateway: Home) -> None:
    """The cookie is the holder's secret: no script reads it, other sites do not send it, it lives as long as the window."""
    url = gateway.fresh(b"x")
    (cookie,) = [value for name, value in ask("GET", url).headers if name == "set-cookie"]
    name, _, rest = cookie.partition("=")
    value, *attributes = rest.split("; ")
    assert name == f"og-{url.partition('once=g.')[2][:22]}"
    assert len(value) == 16
    assert attributes == ["Path=/", "Max-Age=900", "HttpOnly", "SameSite=Lax"]


def test_cookie_is_secure_where_the_public_url_is_https(gateway_with: Callable[..., Home]) -> None:
    """Under https the cookie has the __Host- prefix: no neighbour of the domain can set it for us."""
    home = gateway_with(viewer={"public_url": "https://files.example"})
    home.public_url, at = "https://files.example", f"http://127.0.0.1:{home.port}"
    answer = ask("GET", home.fresh(b"x"), at=at)
    (cookie,) = [value for name, value in answer.headers if name == "set-cookie"]
    assert cookie.startswith("__Host-og-")
    assert cookie.endswith("; Path=/; Max-Age=900; HttpOnly; SameSite=Lax; Secure")


def test_holder_by_address_reads_the_rest(gateway: Home) -> None:
    """Without any cookie the same address continues: wget -c keeps none. Another address does not."""
    data = b"0123456789" * 500
    url = gateway.fresh(data)
    first = ask("GET", url, {"Range": "bytes=0-2999"})
    assert ask("GET", url, {"Range": "bytes=3000-"}, source=NEIGHBOUR).status == 403
    rest = ask("GET", url, {"Range": "bytes=3000-"})
    assert (rest.status, first.body + rest.body) == (206, data)
    assert rest.header("set-cookie") is None, "a neighbour behind the same address would become the holder for good"


def test_a_holder_who_begins_anew_is_told_how_to_have_the_rest(gateway: Home) -> None:
    """Most programs begin anew after a break and then only say "403": their users must learn what would have worked."""
    url = gateway.fresh(b"0123456789" * 500)
    assert ask("GET", url, {"Range": "bytes=0-2999"}).status == 206
    again = ask("GET", url)
    assert again.status == 403
    assert re.search(
        r"This link has been used\. Part .*: until 20\S+Z the same client .*curl -C -, wget -c", again.text
    )
    assert "Part of" not in ask("GET", url, source=NEIGHBOUR).text
    assert ask("GET", url, {"Range": "bytes=3000-"}).status == 206
    assert "Part of" not in ask("GET", url).text


def test_another_cookie_is_never_the_holder(gateway: Home) -> None:
    """A cookie for this link that is not the claim's is somebody else, though he has the holder's address."""
    url = gateway.fresh(b"x" * 5000)
    first = ask("GET", url, {"Range": "bytes=0-99"})
    name = next(iter(first.cookies))
    for value in ("A" * 16, "", first.cookies[name][:-1], first.cookies[name] + "A"):
        assert ask("GET", url, {"Range": "bytes=100-", "Cookie": f"{name}={value}"}).status == 403
    assert ask("GET", url, {"Range": "bytes=100-", "Cookie": f"{name}=A; {name}=B"}).status == 403
    assert ask("GET", url, {"Range": "bytes=100-", **cookie_of(url, first)}).status == 206


def test_cookie_of_another_link_proves_nothing(gateway: Home) -> None:
    """A claim id is good for its own link, under its own name."""
    mine, other = gateway.fresh(b"x" * 5000), gateway.fresh(b"y" * 5000)
    first = ask("GET", mine, {"Range": "bytes=0-99"})
    ask("GET", other, {"Range": "bytes=0-99"})
    (name,), (value,) = first.cookies.keys(), first.cookies.values()
    forged = name.replace(mine.partition("once=g.")[2][:22], other.partition("once=g.")[2][:22])
    assert ask("GET", other, {"Range": "bytes=100-", "Cookie": f"{forged}={value}"}).status == 403


@pytest.mark.parametrize(
    ("resume_by", "by_cookie", "by_address"),
    [("cookie-or-address", 206, 206), ("cookie", 206, 403), ("never", 403, 403)],
)
def test_resume_by_decides_who_may_continue(
    gateway_with: Callable[..., Home], resume_by: str, by_cookie: int, by_address: int
) -> None:
    """An office behind one address wants "cookie"; who wants no second connection at all says "never"."""
    home = gateway_with(links={"resume_by": resume_by})
    url, other = home.fresh(b"x" * 5000), home.fresh(b"x" * 5000)
    first = ask("GET", url, {"Range": "bytes=0-99"})
    assert (first.header("set-cookie") is None) == (resume_by == "never")
    cookie = {"Cookie": first.cookie} if first.cookie else {"Cookie": f"og-{url.partition('once=g.')[2][:22]}=x"}
    assert ask("GET", url, {"Range": "bytes=100-199", **cookie}).status == by_cookie
    assert ask("GET", other, {"Range": "bytes=0-99"}).status == 206
    assert ask("GET", other, {"Range": "bytes=100-199"}).status == by_address


def test_forwarding_header_of_a_stranger_makes_no_holder_by_address(gateway: Home) -> None:
    """Behind a proxy that nobody configured all viewers have one address: it proves nothing then."""
    url = gateway.fresh(b"x" * 5000)
    assert ask("GET", url, {"Range": "bytes=0-99", "X-Forwarded-For": "203.0.113.5"}).status == 206
    assert ask("GET", url, {"Range": "bytes=100-", "X-Forwarded-For": "203.0.113.5"}).status == 403
    assert ask("GET", url, {"Range": "bytes=100-"}).status == 403


def test_window_closes(gateway_with: Callable[..., Home], until: Callable[..., Any]) -> None:
    """After ``resume_window`` what is left is lost, for cookie and address alike; every range starts it anew."""
    home = gateway_with(links={"resume_window": "1s"})
    url = home.fresh(b"x" * 5000)
    first = ask("GET", url, {"Range": "bytes=0-99"})
    assert ask("GET", url, {"Range": "bytes=100-199", **cookie_of(url, first)}).status == 206
    until(lambda: ask("HEAD", url, cookie_of(url, first)).status == 403, "the window closes")
    assert ask("GET", url, {"Range": "bytes=200-", **cookie_of(url, first)}).status == 403
    assert ask("GET", url, {"Range": "bytes=200-"}).status == 403


def test_expiry_wins_over_the_window(gateway: Home, until: Callable[..., Any]) -> None:
    """A link that expired gives nothing more, also to a holder in the middle of his download."""
    url = gateway.fresh(b"x" * 5000, expires_in_s=2)
    first = ask("GET", url, {"Range": "bytes=0-99"})
    assert first.status == 206
    until(lambda: ask("HEAD", url).status == 403, "the link expires")
    assert ask("GET", url, {"Range": "bytes=100-", **cookie_of(url, first)}).status == 403


ASKED = {
    "all but the last byte": lambda i, size: f"bytes=0-{size - 2}",
    "all but the first byte": lambda i, size: "bytes=1-",
    "the first half": lambda i, size: f"bytes=0-{size // 2}",
    "one byte less each time": lambda i, size: f"bytes=0-{size - 2 - i}",
    "an open end that creeps": lambda i, size: f"bytes={i}-",
    "tiny pieces of the same place": lambda i, size: f"bytes=5-{5 + size // 9}",
}


@pytest.mark.parametrize("size_bytes", [10, 1000, 300_000])
@pytest.mark.parametrize("how", ASKED)
@pytest.mark.parametrize("with_cookie", [True, False])
def test_one_use_never_yields_more_than_size_and_slack(
    gateway: Home, size_bytes: int, how: Any, with_cookie: bool
) -> None:
    """Asking for all but one byte again and again gave others' links away as often as one liked (T13)."""
    url = gateway.fresh(bytes(size_bytes))
    headers, got = {}, 0
    for number in range(30):
        answer = ask("GET", url, {"Range": ASKED[how](number, size_bytes), **headers})
        got += answer.body_bytes if answer.status == 206 else 0
        if with_cookie and answer.cookie:
            headers = {"Cookie": answer.cookie}
    assert 0 < got <= size_bytes + slack_bytes(size_bytes)
    assert ask("GET", url, {"Range": "bytes=0-", **headers}).status == 403


def test_broken_transfers_yield_no_more_either(gateway: Home) -> None:
    """Hanging up in the middle gives back what was not sent, and not a byte more; counted at the far end."""
    size = 24 * MIB
    url = gateway.link(gateway.sparse(size))
    headers, got = {}, 0
    for _ in range(12):
        with RawConnection(url) as connection:
            connection.send_request(
                "GET", target_of(url), host=gateway.public_url[7:], headers={"Range": f"bytes=0-{size - 2}", **headers}
            )
            head = connection.read_head()
            if head.status == 206:
                got += len(connection.read_some(6 * MIB))
                headers = {"Cookie": head.cookie}
            elif head.status != 503:
                break
    assert got <= size + slack_bytes(size)
    assert ask("GET", url, headers).status == 403


def test_parallel_ranges_are_one_use(gateway: Home) -> None:
    """Players and download managers open several connections at once: all of them served, one use."""
    parts, size = 8, 800_000
    data = bytes(range(200)) * (size // 200)
    url = gateway.fresh(data)
    step = size // parts
    first = ask("GET", url, {"Range": f"bytes=0-{step - 1}"})
    answers = {0: first}

    def fetch(number):
        asked = f"bytes={number * step}-{(number + 1) * step - 1}"
        answers[number] = ask("GET", url, {"Range": asked, **cookie_of(url, first)})

    threads = [threading.Thread(target=fetch, args=(number,)) for number in range(1, parts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers.values()} == {206}
    assert b"".join(answers[number].body for number in range(parts)) == data
    assert gateway.record(url).uses == 1
    assert ask("GET", url, source=NEIGHBOUR).status == 403


def test_range_by_cookie_takes_over_from_a_running_whole_download(gateway: Home) -> None:
    """A player opens the whole object, then seeks: the first transfer makes room, and is never ended cleanly."""
    size = 64 * MIB
    url = gateway.link(gateway.sparse(size))
    with reading(url) as (connection, head):
        assert head.status == 200
        answer = ask("GET", url, {"Range": f"bytes={size // 2}-", **cookie_of(url, head)}, keep=False)
        assert (answer.status, answer.body_bytes) == (206, size // 2)
        rest = connection.read_some(size)
        assert 1000 + len(rest) < size, "its end was given to the other request"
    assert gateway.record(url).uses == 1


def test_range_by_address_never_cuts_a_running_download(gateway: Home) -> None:
    """A neighbour behind the same address would kill and inherit it: 503 and come again."""
    size = 64 * MIB
    url = gateway.link(gateway.sparse(size))
    with reading(url) as (connection, head):
        answer = ask("GET", url, {"Range": f"bytes={size // 2}-"})
        assert answer.status == 503
        assert int(answer.header("retry-after")) > 0
        assert "<Code>SlowDown</Code>" in answer.text
        assert ask("GET", url, {"Range": "bytes=5-"}, source=NEIGHBOUR).status == 403
        rest = connection.read_some(size - 1000)
    assert 1000 + len(rest) == size
    assert ask("GET", url, {"Range": "bytes=0-9", **cookie_of(url, head)}).status == 403


def test_whole_get_cuts_nothing(gateway: Home) -> None:
    """A second whole GET is refused, and the first goes on; its holder may come again once that has ended (503)."""
    size = 64 * MIB
    url = gateway.link(gateway.sparse(size))
    with reading(url) as (connection, head):
        assert ask("GET", url, cookie_of(url, head)).status == 503
        assert ask("GET", url).status == 403
        assert len(connection.read_some(size - 1000)) == size - 1000


def test_broken_download_is_continued_to_its_end(gateway: Home, until: Callable[..., Any]) -> None:
    """The viewer leaves midway and comes back for the rest by Range: whole in the end, and then spent."""
    size = 48 * MIB
    url = gateway.link(gateway.sparse(size))
    with reading(url, take_bytes=5 * MIB) as (_, head):
        pass
    until(lambda: gateway.record(url).claims[0].size_bytes is not None, "the break is settled")
    rest = ask("GET", url, {"Range": f"bytes={5 * MIB}-", **cookie_of(url, head)}, keep=False)
    assert (rest.status, rest.body_bytes) == (206, size - 5 * MIB)
    assert ask("GET", url, {"Range": "bytes=0-", **cookie_of(url, head)}).status == 403


def test_viewer_who_hangs_up_is_noticed_every_time(gateway: Home, until: Callable[..., Any]) -> None:
    """The server takes bytes for a closed connection without waiting: a loop that never rests would hand over them all."""
    size = 256 * MIB
    for _ in range(12):
        url = gateway.link(gateway.sparse(size))
        with reading(url):
            pass
        claims = until(lambda url=url: (record := gateway.record(url)) and record.claims, "the claim is there")
        until(lambda url=url: gateway.record(url).claims[0].size_bytes, "the break is settled")
        assert claims
        assert gateway.record(url).claims[0].paid < size // 2


def test_object_replaced_between_ranges_is_refused(gateway: Home) -> None:
    """Half of one version and half of another is no file: 412 to who named a version, 403 to who did not."""
    old, new = b"a" * 5000, b"b" * 6000
    key = gateway.lay(old)
    url = gateway.link(key)
    first = ask("GET", url, {"Range": "bytes=0-999"})
    (gateway.objects / key).unlink()
    gateway.lay(new, key)
    for headers, status in (
        ({"Range": "bytes=1000-", "If-Range": first.header("etag")}, 412),
        ({"Range": "bytes=1000-", "If-Match": first.header("etag")}, 412),
        ({"Range": "bytes=1000-"}, 403),
    ):
        answer = ask("GET", url, {**headers, **cookie_of(url, first)})
        assert (answer.status, b"bbb" in answer.body) == (status, False)


def test_range_that_begins_later_starts_no_new_use_of_a_holder(gateway: Home) -> None:
    """Of a link for two uses: the holder's seek belongs to his first use, however much of it is gone."""
    url = gateway.fresh(b"x" * 1000, uses=2)
    first = ask("GET", url)
    assert ask("GET", url, {"Range": "bytes=500-", **cookie_of(url, first)}).status == 403
    assert gateway.record(url).uses == 1
    assert ask("GET", url, {"Range": "bytes=0-499", **cookie_of(url, first)}).status == 206
    assert gateway.record(url).uses == 2


def test_success_costs_one_write(gateway: Home) -> None:
    """A whole download writes the ledger once: the record is what the claim wrote, without a settlement."""
    url = gateway.fresh(b"x" * 1_000_000)
    assert ask("GET", url, keep=False).is_whole
    record = gateway.record(url)
    assert record.uses == 1
    assert record.marks == ()
    assert record._replace(claims=()) == EMPTY._replace(uses=1)
