"""What ``oncegate doctor`` looks at on this machine: the configuration, the keys and the tokens, and who may read them."""

from __future__ import annotations

import stat
import time
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from oncegate.cli.checkup.findings import Finding, failed, warning
from oncegate.cli.wiring import open_keys, open_signer
from oncegate.settings import Settings
from oncegate.settings.addresses import Address
from oncegate.settings.sockets import UnixSocket
from oncegate.unfit import Unfit

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - looked for, not listened on


def look_at_configuration(settings: Settings) -> list[Finding]:
    """Look at who else can read the secrets of the configuration, and at what it exposes."""
    words = f"{settings.file} is read" if settings.file else "variables alone, no file"
    found = [Finding(name="configuration", words=words)]
    if settings.file is not None and _is_open(settings.file) and _has_secrets(settings.file):
        found.append(warning("configuration", "it holds secrets and others may read it", f"chmod 600 {settings.file}"))
    for url in settings.viewer.public_url:
        if url.startswith("http://") and not _is_loopback(url.removeprefix("http://")):
            words = f"links to {url} travel in the clear: whoever sees one can use it first"
            found.append(warning("configuration", words, "put a proxy with TLS in front, and https:// in public_url"))
    return found + _look_at_listeners(settings)


def _look_at_listeners(settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    viewer, control = settings.viewer, settings.control.listen
    if isinstance(viewer.listen, Address):
        is_local = all(_is_loopback(url.partition("://")[2]) for url in viewer.public_url)
        if viewer.listen.host in _EVERYWHERE and is_local:
            words = f"the viewer listens on {viewer.listen}, and links begin with {viewer.public_url[0]}: nobody else can use them"
            found.append(warning("configuration", words, "write in [viewer] public_url what viewers reach it by"))
    elif isinstance(viewer.listen, UnixSocket) and not viewer.trusts_unix_peers:
        words = (
            f"the viewer listens on {viewer.listen}, where viewers have no address: links for one network are refused"
        )
        found.append(
            warning("configuration", words, 'write "unix:" in [viewer] trusted_proxies if a proxy connects there')
        )
    if viewer.trusts_unix_peers and int(viewer.socket_mode, 8) & stat.S_IWOTH:
        words = (
            f"[viewer] socket_mode {viewer.socket_mode}: every user of this machine may say which address a viewer has"
        )
        found.append(warning("configuration", words, 'write socket_mode = "660", and put the proxy into the group'))
    if isinstance(control, Address) and not _is_loopback(str(control)):
        words = f"the control API listens on {control}, not on this machine alone"
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
            found.append(_readable_by_others("keys", path))
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
        found.append(_readable_by_others("tokens", plain))
    return found


def _readable_by_others(name: str, path: Path) -> Finding:
    return failed(name, f"{path}: others than its owner may read it", f"chmod 600 {path}")


def _is_open(path: Path) -> bool:
    """Return whether others than the owner may read a file."""
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
    except OSError:
        return False


def _is_loopback(authority: str) -> bool:
    """Return whether a host, with or without a port, is this machine alone."""
    host = authority.rpartition(":")[0] if not authority.endswith("]") and ":" in authority else authority
    host = host.strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
