"""``oncegate init``: a folder from which ``oncegate serve`` runs. Never writes over anything; a failed one leaves nothing."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

import click

from oncegate.atomic_file import create_file
from oncegate.cli.examples import examples
from oncegate.cli.main import Misuse
from oncegate.settings.finding import DEFAULT_CONFIG

TEMPLATE = """\
# oncegate: signed, single-use links for private object storage.
# Every setting is here; those with a # in front show their default. Paths are relative to this file.
# ONCEGATE_VIEWER__LISTEN=... and so on in the environment override it. 'oncegate doctor' checks it.

[viewer]                              # the public listener: serves links, and nothing else
listen = "127.0.0.1:8080"             # 0.0.0.0:8080 listens everywhere; or unix:PATH, systemd:NAME
# socket_mode = "660"                 # of the file of a Unix socket
public_url = "http://127.0.0.1:8080"  # what links begin with: as viewers see it, https:// behind a proxy; or a list
trusted_proxies = []                  # proxies whose proxy_header is believed, as in ["10.0.0.0/8"] or ["unix:"]
proxy_header = "x-forwarded-for"
confirm = "auto"                      # when a person is asked before a use is spent: auto | always | never
cors_origins = []                     # sites whose pages may read answers
connections_per_address = 256         # open connections of one address; 0: no limit; trusted proxies have none
drain = "30s"                         # what running transfers get to finish after SIGTERM
max_upload = "5TiB"                   # the largest upload, whatever a link allows

[links]
plain_links = "once"                  # links without a ticket: once | allow (as often as they like) | refuse
plain_put = []                        # beginnings of keys where plain CloudFront links may PUT
resume_window = "15m"                 # how long a broken download can be resumed
resume_by = "cookie-or-address"       # what proves who resumes: cookie-or-address | cookie | never
stall_timeout = "60s"                 # a transfer without progress is cut
max_lifetime = "7d"                   # of links made here; what retiring a key waits for
# s3_bucket = ""                      # a bucket whose name S3 links may carry before the key
# s3_region = ""                      # the region that S3 links must name; empty: any
# home = ""                           # name of this ledger in tickets, where an installation has several
delete_after = "refuse"               # links that ask for their object to be removed after them: refuse | allow

[delivery]                            # who sends the bytes of a download
mode = "stream"                       # stream: the gateway | accel: nginx or Caddy in front, told by the gateway
# accel_prefix = "/_objects/"         # the proxy's internal location
# accel_log = "127.0.0.1:7403"        # where the proxy's line about each transfer is taken: UDP, or unixgram:/path
# accel_min = "256KiB"                # shorter answers are sent by the gateway

[control]                             # the private listener: makes, lists and revokes links
listen = "127.0.0.1:8081"
# socket_mode = "660"                 # of the file of a Unix socket
# cors_origins = []                   # sites whose pages may call it, with a token

[store]
url = "file:./objects"                # where the objects are

[ledger]
url = "sqlite:./ledger.db"            # where uses are recorded; never copy it back from a backup without accept_from
accept = []                           # weaker promises, by name
# accept_from = 2026-01-01T00:00:00Z  # after a restore: refuse tickets made before
# homes = {{}}                          # ledgers of other homes, as in {{eu = "dynamodb://links?region=eu-central-1"}}
events_size = "256MiB"                # of the file of events beside a sqlite: ledger; receipts are the last to go

[keys]
group = "./keys"                      # <key id>.pem: public keys that are trusted; read again when they change
signing = "./private/{key_id}.pem"    # the private key that signs new links; or env:NAME

[pages]                               # what people see who open a link in a browser
# name = ""                           # whose links these are; empty: the host
# logo = ""                           # path of an .svg, .png, .jpg or .webp file of at most 16 KiB
# colour = ""                         # of buttons, as in "#0f766e"
# contact = ""                        # where readers may ask
language = "en"                       # of readers whose browser asks for none of en, de, fr, es, ja, ar
previews = "neutral"                  # what chats show of a link: neutral | name (the file's)

[log]
format = "auto"                       # json | console | auto: console on a terminal, json elsewhere

[s3_credentials]                      # access key id = secret, to accept and to make S3 presigned URLs
"""

NAMES = (DEFAULT_CONFIG, "keys", "private", "ledger.db", "ledger-events.db", "control.token", "tokens.json")
"""What must not be there. ``objects`` may: nothing in it is touched."""

_BESIDE = ("ledger.db-lock", "ledger.db-wal", "ledger.db-shm", ".tokens.json.lock")


@click.command(
    epilog=examples("oncegate init                 # here", "oncegate init /srv/oncegate", "oncegate init --rsa gate")
)
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--rsa", is_flag=True, help="An RSA 2048 key, for verifiers that know no ECDSA; links get longer.")
def command(folder: Path, *, rsa: bool) -> None:
    """Make a configuration, keys, a ledger and a token.

    Writes oncegate.toml, a key pair (keys/, private/), the ledger, control.token and tokens.json, and objects/ into
    DIR (default: here). Refuses to overwrite anything.
    """
    key_id = make_installation(folder, is_rsa=rsa)
    _say_what_next(folder, key_id)


def make_installation(folder: Path, *, is_rsa: bool = False) -> str:
    """Make everything that ``oncegate serve`` needs.

    Args:
        folder: where; made with its parents where it is missing.
        is_rsa: an RSA 2048 key in place of ECDSA P-256.

    Returns:
        The id of the key that signs.

    Raises:
        Misuse: one of ``NAMES`` is there already, or cannot be written; nothing was changed.
    """
    standing = [name for name in NAMES if (folder / name).exists() or (folder / name).is_symlink()]
    if standing:
        raise Misuse(
            f"{folder / standing[0]} exists: nothing is overwritten, and nothing was made; name another folder"
        )
    try:
        return _make(folder, is_rsa=is_rsa)
    except OSError as error:
        raise Misuse(f"{error.filename or folder}: cannot be written: {error.strerror}") from None


def _make(folder: Path, *, is_rsa: bool) -> str:
    had_folder, had_objects = folder.exists(), (folder / "objects").exists()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "keys").mkdir(mode=0o755)  # of two at once, one gets no further than this
    try:
        (folder / "objects").mkdir(mode=0o750, exist_ok=True)
        key_id = _make_parts(folder, is_rsa=is_rsa)
        # last, and 0600: secrets of S3 credentials are to be written into it
        create_file(folder / DEFAULT_CONFIG, TEMPLATE.format(key_id=key_id).encode(), mode=0o600)
    except BaseException:
        _undo(folder, had_folder=had_folder, had_objects=had_objects)
        raise
    return key_id


def _make_parts(folder: Path, *, is_rsa: bool) -> str:
    from oncegate.control.tokens import TokenFile, write_operator_token
    from oncegate.keys.rotation import KeyPlaces, make_key
    from oncegate.ledgers.opening import create_ledger

    key_id = make_key(KeyPlaces(folder / "keys", folder / "private"), "rsa" if is_rsa else "ecdsa")
    create_ledger("sqlite:./ledger.db", folder=folder)
    write_operator_token(folder / "control.token", TokenFile(folder / "tokens.json"), now_s=int(time.time()))
    return key_id


def _undo(folder: Path, *, had_folder: bool, had_objects: bool) -> None:
    """Remove whatever was made; none of it existed before, otherwise init would have refused."""
    for name in (*NAMES, *_BESIDE):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        if not had_objects:
            (folder / "objects").rmdir()
        if not had_folder:
            folder.rmdir()


def _say_what_next(folder: Path, key_id: str) -> None:
    is_here = folder.resolve() == Path.cwd()
    option = "" if is_here else f" --config {folder / DEFAULT_CONFIG}"
    objects = folder / "objects"
    click.echo(
        f"made {folder / DEFAULT_CONFIG}, the key {key_id}, the ledger, control.token and {objects}/\n"
        "next:\n"
        f"  cp report.pdf {objects}/\n"
        f"  oncegate{option} serve             # serves links\n"
        f"  oncegate{option} link report.pdf   # prints a link that opens once\n"
        f"  oncegate{option} doctor            # checks everything",
        err=True,
    )
