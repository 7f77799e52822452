"""A program that sends one request and keeps what comes; ``lossy_links`` runs it, in another network namespace.

It knows nothing of HTTP but the length of an answer, and it writes each byte to its file as it comes, so that the file
tells what arrived whatever happens next.
"""

import contextlib
import re
import socket
import sys


def main(address: str, port: str, path: str, silent_s: str, request: str) -> None:
    """Take one answer, until it is whole, the connection ends, or nothing has come for a while."""
    got = b""
    with (
        open(path, "wb", buffering=0) as file,
        socket.create_connection((address, int(port)), float(silent_s)) as connection,
        contextlib.suppress(OSError),
    ):
        connection.sendall(bytes.fromhex(request))
        while (left := _left(got)) is None or left > 0:
            data = connection.recv(65_536)
            if not data:
                return
            file.write(data)
            got += data


def _left(got: bytes) -> int | None:
    head, end, body = got.partition(b"\r\n\r\n")
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return int(found[1]) - len(body) if end and found else None


if __name__ == "__main__":
    main(*sys.argv[1:])
