"""What ``oncegate doctor`` looks at: a function for each part, from the configuration to findings in plain words.

Nothing is changed, but for a ledger that is made where none stands, as at every start. A finding holds no secret. Each
part is given up after some seconds, so that one that hangs hides no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import stat
import time
import tomllib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, cast

from oncegate.cli.checkup.remedies import remedy_for, remedy_of
from oncegate.cli.wiring import open_keys, open_ledger, open_signer, open_store
from oncegate.links.instants import instant_text
from oncegate.settings import Settings
from oncegate.unfit import Unfit

if TYPE_CHECKING:
    from oncegate.ledgers.protocol import LedgerFacts

CLOCK_WARNING_S = 5.0
CLOCK_FAILURE_S = 300.0
PART_MAX_S = 8.0
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - looked for, not listened on


class State(enum.Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found.

    Attributes:
        name: of the part.
        state: how bad it is.
        words: what was seen.
        remedy: what to do; empty where there is nothing to do.
    """

    name: str
    state: State = State.OK
    words: str
    remedy: str = ""


def look_at_configuration(settings: Settings) -> list[Finding]:
    """Look at who else can read the secrets of the configuration, and at what it exposes."""
    words = f"{settings.file} is read" if settings.file else "variables alone, no file"
    found = [Finding(name="configuration", words=words)]
    if settings.file is not None and _is_open(settings.file) and _has_secrets(settings.file):
        found.append(warning("configuration", "it holds secrets and others may read it", f"chmod 600 {settings.file}"))
    for url in settings.viewer.public_url:
        if url.startswith("http://") and not is_loopback(url.removeprefix("http://")):
            words = f"links to {url} travel in the clear: whoever sees one can use it first"
            found.append(warning("configuration", words, "put a proxy with TLS in front, and https:// in public_url"))
    listen = settings.viewer.listen
    if listen.host in _EVERYWHERE and all(is_loopback(url.partition("://")[2]) for url in settings.viewer.public_url):
        words = f"the viewer listens on {listen}, and links begin with {settings.viewer.public_url[0]}: nobody else can use them"
        found.append(warning("configuration", words, "write in [viewer] public_url what viewers reach it by"))
    if not is_loopback(str(settings.control.listen)):
        words = f"the control API listens on {settings.control.listen}, not on this machine alone"
        found.append(warning("configuration", words, 'write [control] listen = "127.0.0.1:8081" unless it must'))
    return found


def _has_secrets(file: Path) -> bool:
    """Return whether the file itself holds secrets; those from variables do not count."""
    tables: dict[str, object] = tomllib.loads(file.read_text())
    store, ledger = (cast("Mapping[str, object]", tables.get(name) or {}) for name in ("store", "ledger"))
    options = cast("Mapping[str, object]", store.get("options") or {})
    credentials, at, _ = str(ledger.get("url", "")).partition("//")[2].rpartition("@")
    return bool(
        tables.get("s3_credentials")
        or any(word in name.lower() for name in options for word in ("secret", "token", "password", "key"))
        or (at and ":" in credentials)
    )


def look_at_keys(settings: Settings) -> list[Finding]:
    """Check that the group loads, that the signing key is in it, and that private keys are private and of use."""
    try:
        keys = open_keys(settings)
    except Unfit as unfit:
        return [failed("keys", unfit.words, unfit.remedy or "see 'oncegate keys -h'")]
    group = ", ".join(keys.group) or "no keys"
    if not len(keys.group) and not settings.s3_credentials:
        return [failed("keys", f"{keys.path} holds no key: no link is accepted", "oncegate keys new --sign")]
    if not settings.keys.signing:
        return [
            Finding(name="keys", words=f"trusted: {group}"),
            warning("keys", "[keys] signing is empty: no CloudFront link is signed here", "oncegate keys new --sign"),
        ]
    try:
        signer = open_signer(settings, keys)
    except Unfit as unfit:
        return [failed("keys", unfit.words, unfit.remedy or "see 'oncegate keys -h'")]
    found = [Finding(name="keys", words=f"trusted: {group}; {signer.key_id} signs")]
    if not settings.keys.signing.startswith(("env:", "kms:", "secretsmanager:", "ssm:")):
        found += _look_at_private_keys(settings.resolve(settings.keys.signing).parent, set(keys.group))
    return found


def _look_at_private_keys(folder: Path, trusted: set[str]) -> list[Finding]:
    found: list[Finding] = []
    for path in sorted(folder.glob("*.pem")):
        if _is_open(path):
            found.append(failed("keys", f"{path}: others than its owner may read it", f"chmod 600 {path}"))
        if path.stem not in trusted:
            words = f"{path}: no key of the group has this id: it signs nothing that is accepted"
            found.append(warning("keys", words, "remove it, or put its public half into the group"))
    return found


def look_at_tokens(settings: Settings) -> list[Finding]:
    """Check that somebody may call the control API, and that nobody else can read a token."""
    from oncegate.control.tokens import TokenFile

    now_s = int(time.time())
    try:
        tokens = TokenFile(settings.resolve("tokens.json")).list_tokens()
    except Unfit as unfit:
        return [failed("tokens", unfit.words, unfit.remedy or "restore it, or move it away and make new tokens")]
    living = [token for token in tokens if token.expires_s is None or now_s < token.expires_s]
    found = [Finding(name="tokens", words=f"{len(living)} in use, {len(tokens) - len(living)} expired")]
    if not living:
        found = [warning("tokens", "none: nobody may call the control API", "oncegate tokens new NAME")]
    plain = settings.resolve("control.token")
    if plain.exists() and _is_open(plain):
        found.append(failed("tokens", f"{plain}: others than its owner may read it", f"chmod 600 {plain}"))
    return found


async def look_at_homes(settings: Settings) -> list[Finding]:
    """Check each ledger of ``[ledger.homes]`` as the own one."""
    looked = await asyncio.gather(*(look_at_ledger(settings, home) for home in settings.ledger.homes))
    return [
        replace(finding, words=f"home {home}: {finding.words}")
        for home, (found, _) in zip(settings.ledger.homes, looked, strict=True)
        for finding in found
    ]


async def look_at_ledger(settings: Settings, home: str = "") -> tuple[list[Finding], LedgerFacts | None]:
    """Check that the ledger can keep its promise; return the facts of its probe too, for the clock."""
    from oncegate.cli.records import swept_ahead
    from oncegate.ledgers.protocol import LedgerUnfit
    from oncegate.ledgers.sweeping import refused_until_s

    scheme = settings.ledger_url(home).partition(":")[0]
    try:
        ledger = open_ledger(settings, home)
    except Unfit as unfit:
        return [_unfit("ledger", unfit, "[ledger] url")], None
    try:
        async with asyncio.timeout(PART_MAX_S):
            facts = await ledger.probe()
    except LedgerUnfit as unfit:
        return [_unfit("ledger", unfit, "[ledger] url")], None
    except TimeoutError:
        words = f"{scheme}: no answer within {PART_MAX_S:.0f} s"
        return [failed("ledger", words, remedy_for(words, "[ledger] url"))], None
    finally:
        await ledger.aclose()
    found = [Finding(name="ledger", words=f"{scheme}: is fit, born {instant_text(facts.born_ms // 1000)}")]
    if scheme == "memory":
        words = "memory: forgets every use at a restart: tickets made before are refused then"
        found = [warning("ledger", words, 'write [ledger] url = "sqlite:./ledger.db"')]
    until_s = refused_until_s(facts.swept_until_s, int(time.time()))
    if until_s is not None:
        found.append(
            failed("ledger", swept_ahead(until_s), "set the clock, end all gateways, 'oncegate ledger repair'")
        )
    if facts.repair.refused_before_ms:
        words = f"was repaired: tickets made before {instant_text(facts.repair.refused_before_ms // 1000)} are refused"
        found.append(Finding(name="ledger", words=words))
    if facts.accepted:
        words = f"weaker promises are in use: {', '.join(facts.accepted)}"
        found.append(warning("ledger", words, "[ledger] accept takes them: remove what need not be"))
    return found, facts


def look_at_clock(facts: LedgerFacts | None, dates_s: Sequence[float | None]) -> list[Finding]:
    """Compare this clock, by which links live, with the ledger's and with the Date of the public URLs."""
    ahead = [] if facts is None else [("the ledger's", facts.clock_ahead_s)]
    ahead += [("the public URL's", date_s - time.time()) for date_s in dates_s if date_s is not None]
    if not ahead:
        return [warning("clock", "there is no other clock to compare with", "")]
    whose, worst_s = max(ahead, key=lambda pair: abs(pair[1]))
    words = f"{whose} clock is {abs(worst_s):.0f} s {'ahead of' if worst_s > 0 else 'behind'} this one"
    if abs(worst_s) > CLOCK_FAILURE_S:
        return [failed("clock", words, "set the clocks: 'timedatectl set-ntp true'")]
    if abs(worst_s) > CLOCK_WARNING_S:
        return [warning("clock", words, "set the clocks: 'timedatectl set-ntp true'")]
    return [Finding(name="clock", words="agrees with the others")]


async def look_at_store(settings: Settings) -> list[Finding]:
    """Check that the store can be read and written."""
    from oncegate.stores.protocol import StoreFault, StoreUnfit

    try:
        store = open_store(settings)
    except Unfit as unfit:
        return [_unfit("store", unfit, "[store]")]
    scheme = settings.store.url.partition(":")[0]
    said: list[str] = []
    try:
        with _warnings_in(said):
            async with asyncio.timeout(PART_MAX_S):
                await store.probe()
    except StoreUnfit as unfit:
        return [_unfit("store", unfit, "[store]")]
    except StoreFault as fault:
        return [failed("store", str(fault), remedy_for(str(fault), "[store]"))]
    except TimeoutError:
        words = f"{scheme}: no answer within {PART_MAX_S:.0f} s"
        return [failed("store", words, remedy_for(words, "[store]"))]
    finally:
        await store.aclose()
    found = [Finding(name="store", words=f"{scheme}: can be read" + ("" if said else " and written"))]
    return found + [warning("store", words, "docs/reference/stores.md says what each server keeps") for words in said]


@contextlib.contextmanager
def _warnings_in(said: list[str]) -> Generator[None]:
    """Collect the warnings of parts, which a gateway would log."""

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    log, handler = logging.getLogger("oncegate"), Collecting(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def warning(name: str, words: str, remedy: str) -> Finding:
    """Make a finding that ends nothing."""
    return Finding(name=name, state=State.WARNING, words=words, remedy=remedy)


def _unfit(name: str, unfit: Unfit, setting: str) -> Finding:
    words = f"{unfit.where}: {unfit.what}" if unfit.where else unfit.what
    return failed(name, words, remedy_of(unfit, setting))


def failed(name: str, words: str, remedy: str) -> Finding:
    """Make a finding of something broken."""
    return Finding(name=name, state=State.FAILED, words=words, remedy=remedy)


def _is_open(path: Path) -> bool:
    """Return whether others than the owner may read a file."""
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
    except OSError:
        return False


def is_loopback(authority: str) -> bool:
    """Return whether a host, with or without a port, is this machine alone."""
    host = authority.rpartition(":")[0] if not authority.endswith("]") and ":" in authority else authority
    host = host.strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
