"""``Signer``, ``Link`` and ``ticket``: what a program signs, a gateway's rules take; what it cannot sign, it hears why."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import oncegate
from oncegate.testing.installation import Installation


@pytest.fixture
def made(tmp_path: Path) -> Installation:
    """An installation with an ECDSA key."""
    return Installation(tmp_path, credentials={"AKIDEXAMPLE": "secret-of-the-example"})


@pytest.fixture
def signer(made: Installation) -> oncegate.Signer:
    """The installation's own signer."""
    return oncegate.Signer.from_config(made.folder / "oncegate.toml")


def test_a_download_link_verifies(made: Installation, signer: oncegate.Signer) -> None:
    """Everything that the link says of itself is what the signature allows."""
    link = signer.download("reports/ä b.pdf", expires_in=timedelta(minutes=15), uses=3, filename="Report.pdf")
    grant = oncegate.verify(link.url, config=made.folder / "oncegate.toml")
    assert (grant.object_key, grant.uses, grant.expires_s) == (link.key, 3, int(link.expires_at.timestamp()))
    assert (link.operation, link.uses, str(link)) == ("get", 3, link.url)
    assert link.url not in repr(link)
    assert re.search(rf"once=g3\.{link.id}&", link.url)


def test_an_upload_link_verifies_for_put_alone(made: Installation, signer: oncegate.Signer) -> None:
    """A link for uploads must not open the object."""
    link = signer.upload("inbox/a.png", expires_in=900, max_bytes=10, content_type="image/*", overwrite=True)
    config = made.folder / "oncegate.toml"
    limits = oncegate.verify(link.url, method="PUT", config=config).limits
    assert (limits.max_bytes, limits.media_type, limits.may_replace) == (10, "image/*", True)
    with pytest.raises(oncegate.Refused) as found:
        oncegate.verify(link.url, config=config)
    assert (found.value.reason, found.value.code, found.value.status) == ("method-not-granted", "AccessDenied", 403)


def test_what_is_for_people_is_signed(made: Installation, signer: oncegate.Signer) -> None:
    """Otherwise its holder could say that somebody else sends it, or that nobody is asked."""
    config = made.folder / "oncegate.toml"
    link = signer.download("a", confirm="never", from_="Ada & Söhne", note="For you\N{PARTY POPPER}")
    limits = oncegate.verify(link.url, config=config).limits
    assert (limits.confirm, limits.sender, limits.note) == ("never", "Ada & Söhne", "For you\N{PARTY POPPER}")
    limits = oncegate.verify(signer.upload("b", from_="Ada", note="Here").url, method="PUT", config=config).limits
    assert (limits.sender, limits.note) == ("Ada", "Here")


def test_an_object_may_go_with_its_link_where_objects_are_removed(made: Installation) -> None:
    """Signed, so that no holder can ask for it; where the gateway would refuse the link, none is made."""
    path = made.folder / "oncegate.toml"
    with pytest.raises(oncegate.BadRequest, match=r"\[links\] delete_after"):
        oncegate.Signer.from_config(path).download("a", delete_after=True)
    made.write_config(links={"delete_after": "allow"})
    signer = oncegate.Signer.from_config(path)
    assert oncegate.verify(signer.download("a", delete_after=True).url, config=path).limits.delete_after
    assert not oncegate.verify(signer.download("a").url, config=path).limits.delete_after
    alone = oncegate.Signer(key=made.folder / "private" / f"{made.key_id}.pem", base_url=made.public_url)
    assert oncegate.verify(alone.download("a", delete_after=True).url, config=path).limits.delete_after


def test_a_key_alone_signs_too(made: Installation) -> None:
    """A program elsewhere has a PEM file or text, an id and the public URL, and no configuration."""
    path = made.folder / "private" / f"{made.key_id}.pem"
    by_path = oncegate.Signer(key=path, base_url=made.public_url)
    by_text = oncegate.Signer(key=path.read_text(), key_id=made.key_id, base_url=made.public_url)
    for signer in (by_path, by_text):
        assert oncegate.verify(signer.download("a").url, config=made.folder / "oncegate.toml").key_id == made.key_id


@pytest.mark.parametrize("scheme", ["cloudfront", "cloudfront-custom", "s3"])
def test_each_scheme_verifies(made: Installation, signer: oncegate.Signer, scheme: str) -> None:
    """The same call signs for CloudFront and for S3."""
    url = signer.download("a b.txt", scheme=scheme).url  # type: ignore[arg-type]
    assert oncegate.verify(url, config=made.folder / "oncegate.toml").scheme.value == scheme


def test_two_links_of_one_second_are_two_links(signer: oncegate.Signer) -> None:
    """Each has a nonce of its own, else one opening would use up both."""
    first, second = signer.download("a"), signer.download("a")
    assert first.id != second.id


def test_conditions_in_time_and_place_are_kept(made: Installation, signer: oncegate.Signer) -> None:
    """A start and a network need a custom policy, which is chosen by itself."""
    now = datetime.now(UTC).replace(microsecond=0)
    link = signer.download("a", not_before=now + timedelta(hours=1), expires_in=7200, source_ip="203.0.113.0/24")
    config = made.folder / "oncegate.toml"
    later = now + timedelta(hours=1, seconds=1)
    assert oncegate.verify(link.url, config=config, address="203.0.113.7", at=later).object_key == "a"
    for at, address, reason in (
        (now, "203.0.113.7", "not-yet-valid"),
        (later, "198.51.100.1", "ip-not-allowed"),
        (now + timedelta(hours=3), "203.0.113.7", "expired"),
    ):
        with pytest.raises(oncegate.Refused) as found:
            oncegate.verify(link.url, config=config, address=address, at=at)
        assert found.value.reason == reason


def test_lifetimes_have_both_boundaries(made: Installation) -> None:
    """``max_lifetime`` binds programs as it binds the command line: retiring a key waits just that long."""
    path = made.folder / "private" / f"{made.key_id}.pem"
    signer = oncegate.Signer(key=path, base_url=made.public_url, max_lifetime=timedelta(hours=2))
    assert signer.download("a", expires_in=7200).url
    with pytest.raises(oncegate.BadRequest, match="at most 7200 seconds") as found:
        signer.download("a", expires_in=7201)
    assert found.value.argument == "expires_in"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("expires_in", 0),
        ("expires_in", timedelta(days=8)),
        ("expires_at", datetime(2001, 1, 1, tzinfo=UTC)),
        ("expires_at", datetime(2099, 1, 1)),  # noqa: DTZ001  what is refused
        ("uses", 0),
        ("uses", 10_000),
        ("filename", "a\nb"),
        ("filename", "x" * 300),
        ("source_ip", "2001:db8::/32"),
        ("scheme", "v2"),
    ],
)
def test_a_bad_argument_is_named(signer: oncegate.Signer, argument: str, value: object) -> None:
    """A site shows the message beside the right field of its form; ValueError is what libraries expect."""
    with pytest.raises(oncegate.BadRequest) as found:
        signer.download("a", **{argument: value})  # type: ignore[arg-type]
    assert found.value.argument == argument
    assert isinstance(found.value, ValueError | oncegate.OncegateError)


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/../b", "x" * 1025, "a\x00"])
def test_a_key_that_no_gateway_serves_is_refused(signer: oncegate.Signer, key: str) -> None:
    """A link to it would be refused for as long as it lives."""
    with pytest.raises(oncegate.BadRequest) as found:
        signer.download(key)
    assert found.value.argument == "key"


def test_what_cannot_be_used_is_unfit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One class for configuration and keys, with the remedy apart."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(oncegate.Unfit, match=r"no oncegate\.toml here") as found:
        oncegate.Signer.from_config()
    assert "oncegate init" in found.value.remedy
    with pytest.raises(oncegate.Unfit, match="No such file"):
        oncegate.Signer(key="nowhere.pem", base_url="https://files.example")
    with pytest.raises(oncegate.BadRequest, match="key_id"):
        oncegate.Signer(key="-----BEGIN PRIVATE KEY-----", base_url="https://files.example")


def test_the_environment_names_the_configuration(made: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the command line, so that one process configures both."""
    monkeypatch.setenv("ONCEGATE_CONFIG", str(made.folder / "oncegate.toml"))
    link = oncegate.Signer.from_config().download("a")
    assert oncegate.verify(link.url).object_key == "a"


def test_a_ticket_makes_a_link_of_another_signer_single_use() -> None:
    """Its text goes into the URL before signing; each is fresh."""
    assert re.fullmatch(r"once=g\.[A-Za-z0-9_-]{22}", oncegate.ticket())
    assert re.fullmatch(r"once=p3\.[A-Za-z0-9_-]{22}\.eu1", oncegate.ticket("put", uses=3, home="eu1"))
    assert oncegate.ticket() != oncegate.ticket()
    for arguments, argument in (
        ({"uses": 0}, "uses"),
        ({"home": "EU"}, "home"),
        ({"operation": "delete"}, "operation"),
    ):
        with pytest.raises(oncegate.BadRequest) as found:
            oncegate.ticket(**arguments)  # type: ignore[arg-type]
        assert found.value.argument == argument
