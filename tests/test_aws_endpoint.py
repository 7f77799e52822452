"""Which server stands for an AWS service: what was configured, else the variables that every AWS tool reads."""

import asyncio
import pathlib

import pytest

from oncegate.aws_requests.endpoint import allow_http_of, endpoint_of
from oncegate.ledgers.dynamodb.address import parse_address
from oncegate.ledgers.opening import open_ledger
from oncegate.ledgers.protocol import LedgerUnfit
from oncegate.stores.opening import open_store
from oncegate.stores.protocol import StoreUnfit


@pytest.mark.parametrize(
    ("given", "environ", "endpoint"),
    [
        ("", {}, ""),
        ("http://a/", {"AWS_ENDPOINT_URL_S3": "http://b"}, "http://a"),
        ("", {"AWS_ENDPOINT_URL_S3": "http://b/", "AWS_ENDPOINT_URL": "http://c"}, "http://b"),
        ("", {"AWS_ENDPOINT_URL": "http://c", "AWS_ENDPOINT": "http://d"}, "http://c"),
        ("", {"AWS_ENDPOINT_URL_DYNAMODB": "http://e"}, ""),
        ("", {"AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT": "http://d"}, "http://d"),
    ],
)
def test_the_nearest_name_wins(given: str, environ: dict[str, str], endpoint: str) -> None:
    """A tool that reads them in another order talks to another server than the operator's other tools."""
    assert endpoint_of("S3", given=given, environ=environ) == endpoint


@pytest.mark.parametrize(
    ("endpoint", "given", "environ", "allowed"),
    [
        ("https://a", None, {}, "false"),
        ("http://a", None, {}, "true"),
        ("http://a", "false", {}, "false"),
        ("http://a", None, {"AWS_ALLOW_HTTP": "false"}, "false"),
        ("https://a", None, {"AWS_ALLOW_HTTP": "true"}, "true"),
    ],
)
def test_http_is_allowed_where_it_was_written(
    endpoint: str, given: str | None, environ: dict[str, str], allowed: str
) -> None:
    """Who writes http:// has said so; who writes https:// must never be sent elsewhere without TLS."""
    assert allow_http_of(endpoint, given=given, environ=environ) == allowed


def test_a_table_is_looked_for_where_the_environment_says() -> None:
    """Emulators are named by the variable alone; the address still wins."""
    environ = {"AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:4566/"}
    assert parse_address("//uses", environ).endpoint == "http://127.0.0.1:4566"
    assert parse_address("//uses?endpoint=http://b:1", environ).endpoint == "http://b:1"
    assert (
        parse_address("//uses", {"AWS_REGION": "eu-central-1"}).endpoint
        == "https://dynamodb.eu-central-1.amazonaws.com"
    )


@pytest.mark.anyio
@pytest.mark.parametrize("option", ["aws_endpoint", "endpoint", "aws_endpoint_url", "endpoint_url", None])
async def test_a_server_without_tls_is_reached_by_its_endpoint_alone(
    option: str | None, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver asks for allow_http beside http://, and its message (builder error) helps nobody."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        if option is None:
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        options = {"aws_access_key_id": "a", "aws_secret_access_key": "s"}
        store = open_store("s3://bucket", folder=tmp_path, options=options | ({option: endpoint} if option else {}))
        with pytest.raises(StoreUnfit, match="credentials"):
            await store.probe()
        await store.aclose()
        query = f"?{option}={endpoint}" if option else ""
        ledger = open_ledger(f"s3://bucket/uses{query}", folder=tmp_path, accept=())
        with pytest.raises(LedgerUnfit):
            await ledger.probe()
        await ledger.aclose()
    assert any(line.startswith(b"GET /bucket") for line in asked)
    assert any(line.startswith(b"PUT /bucket/uses/") for line in asked)
