"""What the edge function costs: a cold start until its first claim, a warm claim, memory, and the size of the file.

    python benchmarks/edge.py [PYTHON]

PYTHON is the interpreter that runs the function (CloudFront's is 3.13; default: this one). The peer is the least that
could claim: one signed, conditional PutItem over ``http.client``, with no check of the request. Both run in fresh
processes, in turns, without compiled files, as in a new instance; DynamoDB is a server on loopback that always agrees.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from oncegate.keys.pem import load_signing_key, new_key_pair
from oncegate.library.tickets import draw_ticket
from oncegate.links.cloudfront import sign_url
from oncegate.links.grant import Operation

JOINED = pathlib.Path(__file__).parents[1] / "src" / "oncegate" / "aws" / "generated" / "edge.py"
HOST = "d111111abcdef8.cloudfront.net"
ROUNDS, WARM = 9, 500
CONFIGURATION = {"table": "acme", "homes": {"": "us-east-1"}, "claim_key": "k"}

PEER = """
import hashlib, hmac, http.client, json, os, ssl, time
from urllib.parse import parse_qsl

def handler(event, context):
    sent = event["Records"][0]["cf"]["request"]
    once = dict(parse_qsl(sent["querystring"]))["once"]
    item = {"s": {"S": once[-1]}, "id": {"S": once}}
    body = json.dumps({"TableName": "acme", "Item": item, "ConditionExpression": "attribute_not_exists(id)"})
    host = os.environ["AWS_ENDPOINT_URL_DYNAMODB"].split("//")[1]
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{date[:8]}/us-east-1/dynamodb/aws4_request"
    headers = {"host": host, "x-amz-date": date, "x-amz-target": "DynamoDB_20120810.PutItem"}
    lines = "".join(f"{name}:{headers[name]}\\n" for name in sorted(headers))
    names = ";".join(sorted(headers))
    canonical = f"POST\\n/\\n\\n{lines}\\n{names}\\n{hashlib.sha256(body.encode()).hexdigest()}"
    text = f"AWS4-HMAC-SHA256\\n{date}\\n{scope}\\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4secret"
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential=a/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    connection = http.client.HTTPConnection(host, timeout=2)
    connection.request("POST", "/", body=body, headers=headers)
    assert connection.getresponse().status == 200
    return sent
"""

RUN = f"""
import json, os, resource, sys, time
sys.path.insert(0, os.getcwd())
import index
assert "status" not in index.handler(json.load(open("first.json")), None)
used = resource.getrusage(resource.RUSAGE_SELF)
# of this program: ru_maxrss would be that of its parent before it began
memory_mib = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1024
events = json.load(open("events.json"))
said, sys.stdout = sys.stdout, open(os.devnull, "w")
began = time.process_time()
for event in events:
    assert "status" not in index.handler(event, None)
warm_ms = (time.process_time() - began) / {WARM} * 1000
print(json.dumps([(used.ru_utime + used.ru_stime) * 1000, warm_ms, memory_mib]), file=said)
"""


class Agrees(BaseHTTPRequestHandler):
    """A DynamoDB whose table was born long ago and in which no condition fails."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Agree."""
        self.rfile.read(int(self.headers["content-length"]))
        body = b'{"Item":{"ms":{"N":"0"}}}' if self.headers["x-amz-target"].endswith("GetItem") else b"{}"
        head = f"HTTP/1.1 200 x\r\nDate: {formatdate(usegmt=True)}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as its base has it
        """Say nothing."""


def events() -> list[object]:
    """Requests for fresh links, one each."""
    key, end_s = load_signing_key(new_key_pair("ecdsa")[0]).named("K1"), int(time.time()) + 600
    made: list[object] = []
    for number in range(WARM + 1):
        url = sign_url(f"https://{HOST}/a.txt?once={draw_ticket(Operation.GET)}", key=key, expires_s=end_s)
        headers = {"host": HOST, "user-agent": "curl/8.5.0", "accept": "*/*"}
        request = {
            "clientIp": "203.0.113.178",
            "headers": {name: [{"key": name, "value": value}] for name, value in headers.items()},
            "method": "GET",
            "querystring": url.partition("?")[2],
            "uri": "/a.txt",
        }
        config = {"eventType": "viewer-request", "requestId": str(number)}
        made.append({"Records": [{"cf": {"config": config, "request": request}}]})
    return made


def main() -> None:
    """Measure both in turns, and print medians."""
    python = sys.argv[1] if len(sys.argv) > 1 else sys.executable
    server = ThreadingHTTPServer(("127.0.0.1", 0), Agrees)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environ = {
        "AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "PATH": os.environ["PATH"],
    }
    codes = {"edge": f"CONFIGURATION = {json.dumps(CONFIGURATION)!r}\n{JOINED.read_text()}", "peer": PEER}
    found: dict[str, list[list[float]]] = {name: [] for name in codes}
    with tempfile.TemporaryDirectory() as folder:
        for name, code in codes.items():
            place = pathlib.Path(folder) / name
            place.mkdir()
            (place / "index.py").write_text(code)
            first, *others = events()
            (place / "first.json").write_text(json.dumps(first))
            (place / "events.json").write_text(json.dumps(others))
        for _ in range(ROUNDS):
            for name in codes:
                done = subprocess.run(
                    [python, "-B", "-I", "-c", RUN], cwd=pathlib.Path(folder) / name, env=environ, capture_output=True, check=True
                )  # fmt: skip
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    server.shutdown()
    edge, peer = ([statistics.median(column) for column in zip(*found[name], strict=True)] for name in codes)
    print(f"size      {JOINED.stat().st_size / 1000:.1f} KB")
    print(f"cold      {edge[0]:.0f} ms of CPU to the first claim, peer {peer[0]:.0f}: {edge[0] / peer[0]:.2f}")
    print(f"warm      {edge[1]:.2f} ms of CPU a claim, peer {peer[1]:.2f}")
    print(f"memory    {edge[2]:.0f} MiB, peer {peer[2]:.0f}")


if __name__ == "__main__":
    main()
