"""The configuration: what is read, what overrides what, and what each message says."""

import json
import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncegate.settings import Settings, SettingsError, load
from oncegate.settings.addresses import Address
from oncegate.settings.sockets import SystemdSocket, UnixSocket
from oncegate.settings.tables import LinksSettings, StoreSettings, ViewerSettings

DOCUMENTED = """
[viewer]
listen = "127.0.0.1:8080"
public_url = "http://127.0.0.1:8080"  # or a list
trusted_proxies = []
proxy_header = "x-forwarded-for"
confirm = "auto"                      # auto | always | never
cors_origins = []
connections_per_address = 256
drain = "30s"
max_upload = "5TiB"
[links]
plain_links = "once"                  # once | allow | refuse
plain_put = []                        # prefixes where plain CloudFront links may PUT
resume_window = "15m"
resume_by = "cookie-or-address"
stall_timeout = "60s"                 # of a transfer that makes no progress
max_lifetime = "7d"                   # of links made here; what retiring a key waits for
s3_bucket = ""
s3_region = ""
home = ""
[delivery]
mode = "stream"                       # stream | accel
accel_prefix = "/_objects/"
accel_log = ""                        # "127.0.0.1:7403", "unixgram:/path"
accel_min = "256KiB"
[control]
listen = "127.0.0.1:8081"
[store]
url = "file:./objects"                # file: s3: gs: az:   (obstore's options under [store.options])
[ledger]
url = "sqlite:./ledger.db"            # memory: sqlite: postgresql: redis: dynamodb: s3:
accept = []                           # weaker promises, by name
[keys]
group = "./keys"                      # <key id>.pem public keys; read again within two seconds of a change
signing = ""
[log]
format = "auto"
[s3_credentials]                      # access key id = secret, to accept S3 presigned URLs
"""
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give the path of a configuration that is not written yet."""
    return tmp_path / "oncegate.toml"


def read(config: Path, text: str, **environ: str) -> Settings:
    """Write a configuration and load it."""
    config.write_text(text)
    return load(config, environ)


def refusal(config: Path, text: str, **environ: str) -> str:
    """Return the message of a configuration that is refused, with the file's folder cut off."""
    with pytest.raises(SettingsError) as caught:
        read(config, text, **environ)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value).replace(f"{config.parent}/", "")


def test_the_documented_file_says_what_holds_without_a_file(config: Path) -> None:
    """A user starts from the documentation's file; removing a line must change nothing."""
    assert read(config, DOCUMENTED) == load_defaults(config)


def load_defaults(config: Path) -> Settings:
    """Give the defaults as of this folder."""
    return Settings(folder=config.parent, file=config)


def test_without_a_file_paths_begin_at_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment alone is a configuration, as in a container."""
    monkeypatch.chdir(tmp_path)
    settings = load(None, {"ONCEGATE_STORE__URL": "file:/srv/objects"})
    assert (settings.folder, settings.file, settings.store.url) == (tmp_path, None, "file:/srv/objects")


def test_paths_begin_at_the_folder_of_the_file(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    """A service starts anywhere; a relative --config must not make relative folders."""
    monkeypatch.chdir(config.parent)
    config.write_text("")
    settings = load(Path("oncegate.toml"), {})
    assert settings.resolve("./keys") == config.parent / "keys"
    assert settings.resolve("/etc/keys") == Path("/etc/keys")


def test_every_kind_of_value_is_read(config: Path) -> None:
    """One of each, in a spelling that is not the default's."""
    settings = read(
        config,
        """
        [viewer]
        listen = "[::]:0"
        public_url = ["HTTPS://DL.Example.com:443/", "http://[2001:DB8::1]:8080"]
        trusted_proxies = ["10.0.0.0/8", "fd00::1"]
        proxy_header = "CloudFront-Viewer-Address"
        cors_origins = "*"
        drain = 5
        max_upload = "10MB"
        [links]
        plain_put = ["in/", "up"]
        s3_bucket = "My_bucket.1"
        home = "eu1"
        [ledger]
        accept = ["redis-failover"]
        accept_from = 2026-01-01T01:00:00.5+01:00
        [store.options]
        region = "eu-central-1"
        allow_http = true
        timeout = 5
        [s3_credentials]
        AKIDEXAMPLE = "secret"
        """,
    )
    assert settings.viewer == ViewerSettings(
        listen=Address("::", 0),
        public_url=("https://dl.example.com", "http://[2001:db8::1]:8080"),
        trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("fd00::1/128")),
        proxy_header="cloudfront-viewer-address",
        cors_origins=("*",),
        drain_s=5,
        max_upload_bytes=10_000_000,
    )
    assert settings.links == LinksSettings(plain_put=("in/", "up"), s3_bucket="My_bucket.1", home="eu1")
    assert settings.ledger.accept_from == datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC)
    assert settings.ledger.accept_from_ms == 1_767_225_600_500
    assert settings.ledger.accept == ("redis-failover",)
    assert settings.store.options == {"region": "eu-central-1", "allow_http": "true", "timeout": "5"}
    assert settings.s3_credentials == {"AKIDEXAMPLE": "secret"}
    assert str(settings.viewer.listen) == "[::]:0"
    assert str(settings.control.listen) == "127.0.0.1:8081"


def test_a_listener_may_have_a_unix_socket_or_one_of_systemd(config: Path) -> None:
    """Each in its spelling; a mode is octal digits, with or without a zero in front."""
    settings = read(
        config,
        """
        [viewer]
        listen = "unix:./viewer.sock"
        socket_mode = "0600"
        trusted_proxies = ["unix:", "10.0.0.0/8"]
        [control]
        listen = "systemd:control"
        """,
    )
    assert settings.viewer.listen == UnixSocket("./viewer.sock")
    assert settings.viewer.socket_mode == "600"
    assert settings.viewer.trusts_unix_peers
    assert settings.viewer.trusted_networks == (ip_network("10.0.0.0/8"),)
    assert settings.control.listen == SystemdSocket("control")
    assert str(settings.viewer.listen) == "unix:./viewer.sock"


def test_a_variable_overrides_one_key(config: Path) -> None:
    """Its neighbours in the table keep what the file says."""
    settings = read(config, '[viewer]\nconfirm = "always"\ndrain = "1m"', ONCEGATE_VIEWER__DRAIN="5s")
    assert (settings.viewer.confirm, settings.viewer.drain_s) == ("always", 5)


def test_a_table_in_a_variable_replaces_the_one_in_the_file(config: Path) -> None:
    """Merged, a credential that was taken away would live on in the file; and keys keep their case."""
    file = '[s3_credentials]\nOLD = "x"\n[store.options]\nregion = "a"\n[viewer]\nconfirm = "always"\n'
    settings = read(
        config,
        file,
        ONCEGATE_S3_CREDENTIALS='{"AKIAabc": "y"}',
        ONCEGATE_STORE__OPTIONS='{"endpoint": "http://localhost:1"}',
        ONCEGATE_VIEWER='{"drain": "2s", "cors_origins": ["https://a.example"]}',
        ONCEGATE_VIEWER__DRAIN="3s",
    )
    assert settings.s3_credentials == {"AKIAabc": "y"}
    assert settings.store.options == {"endpoint": "http://localhost:1"}
    assert settings.viewer == ViewerSettings(drain_s=3, cors_origins=("https://a.example",))


def test_a_list_in_a_variable_is_json_or_one_text(config: Path) -> None:
    """An empty variable is an empty list: it must not open a prefix named ""."""
    settings = read(
        config,
        '[links]\nplain_put = ["a/"]',
        ONCEGATE_VIEWER__PUBLIC_URL='["https://a.example", "https://b.example"]',
        ONCEGATE_VIEWER__TRUSTED_PROXIES="10.1.0.0/16",
        ONCEGATE_LINKS__PLAIN_PUT="",
    )
    assert settings.viewer.public_url == ("https://a.example", "https://b.example")
    assert settings.viewer.trusted_proxies == (ip_network("10.1.0.0/16"),)
    assert settings.links.plain_put == ()


def test_an_instant_in_a_variable_is_iso_8601(config: Path) -> None:
    """TOML has a type for it, the environment only text."""
    settings = read(config, "", ONCEGATE_LEDGER__ACCEPT_FROM="2026-01-01T00:00:00Z")
    assert settings.ledger.accept_from_ms == 1_767_225_600_000


def test_a_home_has_its_ledger_and_the_rest_is_the_own_ones(config: Path) -> None:
    """A home that nobody configured has none: counted in another, its links would be unused there."""
    file = '[links]\nhome = "a"\n[ledger]\nurl = "dynamodb://t"\n[ledger.homes]\nb = "dynamodb://t?region=eu-west-1"'
    settings = read(config, file)
    assert settings.ledger_url() == settings.ledger_url("a") == "dynamodb://t"
    assert settings.ledger_url("b") == "dynamodb://t?region=eu-west-1"
    with pytest.raises(KeyError):
        settings.ledger_url("c")
    given = read(config, file, ONCEGATE_LEDGER__HOMES='{"c": "redis://x"}')
    assert dict(given.ledger.homes) == {"c": "redis://x"}
    assert "redis" not in repr(given)


def test_variables_that_are_not_settings_are_left_alone(config: Path) -> None:
    """The CLI's own, the one that holds the signing key, and what Kubernetes adds for a service named oncegate."""
    kubernetes = {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "ONCEGATE_SERVICE_HOST": "10.0.0.2",
        "ONCEGATE_SERVICE_PORT_VIEWER": "80",
        "ONCEGATE_PORT": "tcp://10.0.0.2:80",
        "ONCEGATE_PORT_80_TCP_ADDR": "10.0.0.2",
        "ONCEGATE_CONTROL_PORT_81_TCP": "tcp://10.0.0.2:81",
    }
    file = '[keys]\nsigning = "env:ONCEGATE_SIGNING_PEM"'
    settings = read(config, file, ONCEGATE_CONFIG="elsewhere", ONCEGATE_SIGNING_PEM="key", ONCEGATED="x", **kubernetes)
    assert settings == read(config, file)
    assert "no table port" in refusal(config, file, ONCEGATE_PORT="80")
    assert "no table signing_pem" in refusal(config, "", ONCEGATE_SIGNING_PEM="key")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[viewer]\nlistn = "x"', "oncegate.toml: [viewer] listn: unknown key: did you mean listen?"),
        ("[viwer]", "oncegate.toml: no table viwer: did you mean viewer?"),
        ('listen = "x"', "oncegate.toml: no table; a key belongs into one, under a line [table]: listen"),
        ("viewer = 1", "oncegate.toml: [viewer]: must be a table"),
        ("s3_credentials = 1", "oncegate.toml: [s3_credentials]: must be a table"),
        ("[viewer", "oncegate.toml: not TOML: "),
        ("[store.options.x]", "oncegate.toml: [store] options: write each option as text, a whole number, true or"),
        ("[log]\nzzzzzz = 1", "oncegate.toml: [log] zzzzzz: unknown key: known are format"),
        ("[viewer]\nlisten = 8080", "oncegate.toml: [viewer] listen: write it as text in quotes"),
        ('[viewer]\nlisten = ":8080"', "[viewer] listen: write host:port or [IPv6]:port"),
        ('[viewer]\nlisten = "::1:8080"', "[viewer] listen: write host:port or [IPv6]:port"),
        ('[viewer]\nlisten = "a:65536"', "[viewer] listen: write host:port or [IPv6]:port"),
        ('[viewer]\nlisten = "[:::]:1"', "[viewer] listen: what stands in brackets is no IPv6 address"),
        ('[viewer]\nconfirm = "maybe"', "[viewer] confirm: must be one of auto, always, never"),
        ('[viewer]\ndrain = "30 secs"', "[viewer] drain: '30 secs' is no duration: write a whole number"),
        ("[viewer]\ndrain = true", "[viewer] drain: write it as text in quotes"),
        ("[viewer]\ndrain = 1.5", "[viewer] drain: write it as text in quotes"),
        ('[viewer]\nmax_upload = "0"', "[viewer] max_upload: must be at least one byte"),
        ("[viewer]\nconnections_per_address = -1", "[viewer] connections_per_address: write a whole number from 0 to"),
        (
            "[viewer]\nconnections_per_address = 1000001",
            "[viewer] connections_per_address: write a whole number from 0",
        ),
        ('[viewer]\nconnections_per_address = "many"', "[viewer] connections_per_address: write a whole number from 0"),
        ('[viewer]\nmax_upload = "5X"', "[viewer] max_upload: '5X' is no size"),
        ("[viewer]\npublic_url = []", "[viewer] public_url: give at least one URL"),
        ('[viewer]\npublic_url = "https://a/x"', "[viewer] public_url: a public URL has no path, query or fragment"),
        ('[viewer]\npublic_url = "https://a/?x"', "[viewer] public_url: a public URL has no path, query or fragment"),
        ('[viewer]\npublic_url = "https://a#x"', "[viewer] public_url: a public URL has no path, query or fragment"),
        ('[viewer]\npublic_url = "https://u:p@a"', "[viewer] public_url: a public URL carries no user or password"),
        ('[viewer]\npublic_url = "ftp://a"', "[viewer] public_url: write http:// or https://"),
        ('[viewer]\npublic_url = "https://a:0"', "[viewer] public_url: write http:// or https://"),
        ('[viewer]\npublic_url = "https://ä.example"', "[viewer] public_url: write http:// or https://"),
        ('[viewer]\npublic_url = "a.example"', "[viewer] public_url: write http:// or https://"),
        ('[viewer]\ntrusted_proxies = ["10.0.0.1/8"]', "10.0.0.1/8 has bits beyond its prefix: write 10.0.0.0/8"),
        ('[viewer]\ntrusted_proxies = ["lan"]', "[viewer] trusted_proxies: write networks such as 10.0.0.0/8"),
        ("[viewer]\ntrusted_proxies = [10]", "[viewer] trusted_proxies: write it as text in quotes"),
        ('[viewer]\nlisten = "unix:"', "[viewer] listen: write the path of the socket behind unix:"),
        ('[viewer]\nlisten = "systemd:a b"', "[viewer] listen: write the socket's FileDescriptorName behind systemd:"),
        ("[viewer]\nsocket_mode = 432", "[viewer] socket_mode: write it as text in quotes"),
        ('[viewer]\nsocket_mode = "680"', "[viewer] socket_mode: write three octal digits in quotes"),
        (
            '[viewer]\nlisten = "unix:a"\n[control]\nlisten = "unix:a"',
            "[control] listen is also [viewer] listen: give each listener a port or a socket of its own",
        ),
        ('[viewer]\ncors_origins = ["a.example"]', "[viewer] cors_origins: write http:// or https://"),
        ('[viewer]\nproxy_header = "a, b"', "[viewer] proxy_header: write the name of one header"),
        ('[viewer]\nproxy_header = "a\\nb"', "[viewer] proxy_header: it holds a control character"),
        ('[links]\nplain_links = "no"', "[links] plain_links: must be one of once, allow, refuse"),
        ('[links]\nresume_by = "ip"', "[links] resume_by: must be one of cookie-or-address, cookie, never"),
        ('[links]\nstall_timeout = "0s"', "[links] stall_timeout: must be at least 1s"),
        ('[links]\nplain_put = ["/in/"]', "[links] plain_put: write the beginning of object keys, without a leading"),
        ('[links]\nplain_put = [""]', "[links] plain_put: write the beginning of object keys"),
        ('[ledger.homes]\nEU = "dynamodb://t"', "[ledger] homes: the name of a home is 1 to 12 of a-z and 0-9"),
        ('[ledger.homes]\nb = "t"', "[ledger] homes: write a URL with a scheme"),
        ('[ledger.homes]\nb = "memory:"', "[ledger] homes: memory: is inside one process"),
        ('[links]\nhome = "b"\n[ledger.homes]\nb = "dynamodb://t"', "[ledger.homes] has [links] home too"),
        ('[links]\nhome = "EU"', "[links] home: write 1 to 12 of a-z and 0-9"),
        ('[links]\nhome = "abcdefghijklm"', "[links] home: write 1 to 12 of a-z and 0-9"),
        ('[links]\ns3_bucket = "a/b"', "[links] s3_bucket: write the name of a bucket alone"),
        ('[links]\ns3_region = "EU"', "[links] s3_region: write a region"),
        ('[delivery]\nmode = "redirect"', "[delivery] mode: must be one of stream, accel"),
        ('[delivery]\naccel_prefix = "objects"', "[delivery] accel_prefix: write the path of a location"),
        ('[delivery]\naccel_log = "7403"', "[delivery] accel_log: write an IP address and a port"),
        ('[delivery]\naccel_log = "localhost:7403"', "[delivery] accel_log: write an IP address and a port"),
        ("[delivery]\naccel_min = 0", "[delivery] accel_min: must be at least one byte"),
        ('[delivery]\nmode = "accel"\naccel_log = "127.0.0.1:1"', "name the proxy's address in [viewer] trusted_pro"),
        ('[viewer]\ntrusted_proxies = ["::1"]\n[delivery]\nmode = "accel"', 'write accel_log = "127.0.0.1:7403"'),
        (
            '[viewer]\ntrusted_proxies = ["::1"]\n[delivery]\nmode = "accel"\naccel_log = "unixgram:s"\n'
            '[store]\nurl = "gs://b"',
            "can serve file: and s3: stores",
        ),
        ('[store]\nurl = "./objects"', "[store] url: write a URL with a scheme, as in file:./objects"),
        ('[ledger]\naccept = ["All of it"]', "[ledger] accept: write names such as redis-failover"),
        ("[ledger]\naccept_from = 2026-01-01T00:00:00", "[ledger] accept_from: the time has no zone: add Z for UTC"),
        ("[ledger]\naccept_from = 2026-01-01", "[ledger] accept_from: write a date and time with a zone"),
        ("[ledger]\naccept_from = 1767225600", "[ledger] accept_from: write a date and time with a zone"),
        ('[ledger]\naccept_from = "soon"', "[ledger] accept_from: write a date and time with a zone"),
        ("[ledger]\naccept_from = 1969-01-01T00:00:00Z", "[ledger] accept_from: the time lies before 1970"),
        ('[keys]\ngroup = ""', "[keys] group: write the path of a folder"),
        ('[log]\nformat = "xml"', "[log] format: must be one of auto, json, console"),
        ('[control]\nlisten = "127.0.0.1:8080"', "oncegate.toml: [control] listen is also [viewer] listen"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_what_to_write(config: Path, text: str, message: str) -> None:
    """File, table, key and remedy: the reader has no other help at start."""
    said = refusal(config, text)
    assert said.startswith("oncegate.toml: ")
    assert message in said


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ONCEGATE_VIWER__LISTEN", "x", "ONCEGATE_VIWER__LISTEN: no table viwer: did you mean viewer?"),
        (
            "ONCEGATE_VIEWER__LISTN",
            "x",
            "ONCEGATE_VIEWER__LISTN: [viewer] listn: unknown key: did you mean listen?",
        ),
        (
            "ONCEGATE_VIEWER_LISTEN",
            "x",
            "ONCEGATE_VIEWER_LISTEN: no table viewer_listen: did you mean ONCEGATE_VIEWER__LISTEN?",
        ),
        (
            "ONCEGATE_viewer__listen",
            "x",
            "ONCEGATE_viewer__listen: not in capital letters: write ONCEGATE_VIEWER__LISTEN",
        ),
        ("ONCEGATE_VIEWER", "x", "ONCEGATE_VIEWER: not JSON: a table is an object, {...}, a list is an array, [...]"),
        ("ONCEGATE_VIEWER", "[]", "ONCEGATE_VIEWER: must be a table (in a variable: a JSON object)"),
        ("ONCEGATE_VIEWER", '{"listn": 1}', "ONCEGATE_VIEWER listn: unknown key: did you mean listen?"),
        ("ONCEGATE_VIEWER__PUBLIC_URL", "[1", "ONCEGATE_VIEWER__PUBLIC_URL: not JSON"),
        ("ONCEGATE_VIEWER__LISTEN", "", "ONCEGATE_VIEWER__LISTEN: write host:port or [IPv6]:port"),
        ("ONCEGATE_VIEWER__LISTEN", "\udcff:1", "ONCEGATE_VIEWER__LISTEN: it holds a control character or a line"),
        ("ONCEGATE_STORE__OPTIONS", "a=b", "ONCEGATE_STORE__OPTIONS: must be a table (in a variable: a JSON object)"),
        ("ONCEGATE_STORE__OPTIONS__REGION", "x", "ONCEGATE_STORE__OPTIONS__REGION: [store] options__region: unknown"),
        (
            "ONCEGATE_S3_CREDENTIALS__AK",
            "x",
            "ONCEGATE_S3_CREDENTIALS__AK: a secret cannot be given alone: give the table whole, as JSON, in ONCEGATE_S3_CREDENTIALS",
        ),
        ("ONCEGATE_", "x", "ONCEGATE_: no table "),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(config: Path, name: str, text: str, message: str) -> None:
    """A misspelt variable that is ignored would leave a default where the operator believes otherwise."""
    assert refusal(config, "", **{name: text}).startswith(message)


def test_a_file_that_cannot_be_read_is_named(config: Path) -> None:
    """Missing, a folder, not text, endless."""
    with pytest.raises(SettingsError, match=r"oncegate.toml: no such file: 'oncegate init' makes one, --config names"):
        load(config, {})
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load(config.parent, {})
    config.write_bytes(b"# \xff")
    with pytest.raises(SettingsError, match=r"oncegate.toml: not UTF-8 at byte 2"):
        load(config, {})
    with pytest.raises(SettingsError, match="longer than 1048576 bytes"):
        load(Path("/dev/zero"), {})
    assert "not TOML" in refusal(config, "a = " + "[" * 100_000)
    assert "not JSON" in refusal(config, "", ONCEGATE_VIEWER="[" * 100_000)


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("", {"ONCEGATE_S3_CREDENTIALS": SECRET}),
        ("", {"ONCEGATE_S3_CREDENTIALS": json.dumps([SECRET])}),
        ("", {"ONCEGATE_S3_CREDENTIALS": json.dumps({"AK": [SECRET]})}),
        ("", {"ONCEGATE_S3_CREDENTIALS": json.dumps({"AK": SECRET + "\n"})}),
        ("", {"ONCEGATE_S3_CREDENTIALS": json.dumps({SECRET: "AK"})}),
        ("", {"ONCEGATE_STORE__OPTIONS": json.dumps({"secret": [SECRET]})}),
        ("", {"ONCEGATE_STORE__URL": SECRET}),
        ("", {"ONCEGATE_LEDGER__URL": f"//user:{SECRET}@host"}),
        ("", {"ONCEGATE_KEYS__SIGNING": f"-----BEGIN PRIVATE KEY-----{SECRET}"}),
        ("", {"ONCEGATE_VIEWER__PUBLIC_URL": f"https://user:{SECRET}@host"}),
        ("", {"ONCEGATE_NO_SUCH": SECRET}),
        (f'[s3_credentials]\nAK = "{SECRET}', {}),
        (f'[s3_credentials]\nAK = ["{SECRET}"]', {}),
        (f'[s3_credentials]\n"{SECRET}" = "AK"', {}),
        (f'[ledger]\nurl = "{SECRET}"', {}),
    ],
)
def test_no_message_holds_a_secret(config: Path, text: str, environ: dict[str, str]) -> None:
    """Messages of a start that failed end in the logs of whoever starts programs."""
    said = refusal(config, text, **environ)
    assert SECRET[:12] not in said


def test_no_repr_holds_a_secret(config: Path) -> None:
    """A repr of the settings is one careless log line away."""
    secrets = {"ONCEGATE_S3_CREDENTIALS": json.dumps({"AK": SECRET}), "ONCEGATE_STORE__URL": f"s3://{SECRET}"}
    secrets |= {"ONCEGATE_STORE__OPTIONS": json.dumps({"k": SECRET}), "ONCEGATE_LEDGER__URL": f"redis://:{SECRET}@host"}
    settings = read(config, "", **secrets)
    assert settings.store.options["k"] == settings.s3_credentials["AK"] == SECRET
    assert SECRET not in repr(settings)
    assert SECRET not in f"{settings}{settings.store}{settings.ledger}"


def test_a_settings_value_that_exists_is_valid() -> None:
    """Tests and other callers build settings without a file; the same checks hold."""
    with pytest.raises(ValueError, match="'-1' is no duration"):
        ViewerSettings(drain_s=-1)
    with pytest.raises(ValueError, match="public_url: not in its normal form"):
        ViewerSettings(public_url=("https://A.example/",))
    with pytest.raises(ValueError, match="write a URL"):
        StoreSettings(url="objects")
    with pytest.raises(ValueError, match="an address has a host"):
        Address("", 80)
    with pytest.raises(ValueError, match="write access key id"):
        Settings(s3_credentials={"a/b": "x"})


def test_settings_cannot_be_changed(config: Path) -> None:
    """They are shared by everything in the process."""
    settings = read(config, '[s3_credentials]\nAK = "x"')
    with pytest.raises(TypeError):
        settings.s3_credentials["AK"] = "y"  # type: ignore[index]
    with pytest.raises(AttributeError):
        settings.viewer.drain_s = 1  # type: ignore[misc]


def test_reading_settings_imports_nothing_heavy() -> None:
    """``oncegate link`` has 0.3 s for everything; these would take all of it."""
    code = "import sys, oncegate.settings; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
    assert not {"asyncio", "logging", "cryptography", "pydantic", "difflib", "urllib.request"} & set(loaded)


SCALARS = st.one_of(
    st.text(max_size=20),
    st.integers(),
    st.booleans(),
    st.floats(),
    st.datetimes(),
    st.sampled_from(["1h", "10MB", "http://a", "*", "-----BEGIN", "10.0.0.0/8", "[", "{}", "a:1", "\0"]),
)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))
KEYS_OF = {table: [*keys, "options", "x"] for table, keys in tomllib.loads(DOCUMENTED).items()}
TABLES = st.sampled_from(sorted(KEYS_OF)).flatmap(
    lambda table: st.tuples(st.just(table), st.dictionaries(st.sampled_from(KEYS_OF[table]), TREES, max_size=2) | TREES)
)
VARIABLES = st.sampled_from(sorted(KEYS_OF)).flatmap(
    lambda table: st.tuples(
        st.sampled_from([table, *(f"{table}__{key}" for key in KEYS_OF[table])]),
        TREES.map(lambda value: json.dumps(value, default=str)) | st.text(max_size=20),
    )
)


def as_toml(value: object) -> str:
    """Write a value as TOML; tables inline, so that one function does."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(as_toml(item) for item in value) + "]"
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


@given(st.lists(TABLES, max_size=3).map(dict), st.lists(VARIABLES, max_size=2).map(dict))
def test_whatever_is_written_is_settings_or_a_settings_error(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, object], variables: dict[str, str]
) -> None:
    """A traceback at start tells an operator nothing, and may show a secret."""
    config = tmp_path_factory.getbasetemp() / f"random-{os.getpid()}.toml"
    text = "".join(f"{json.dumps(table)} = {as_toml(content)}\n" for table, content in document.items())
    config.write_bytes(text.encode(errors="surrogatepass"))
    environ = {f"ONCEGATE_{name.upper()}": value for name, value in variables.items()}
    try:
        settings = load(config, environ)
    except SettingsError as error:
        assert str(error)
    else:
        assert isinstance(settings, Settings)
