"""Requests as bytes: those that are taken, and those that are refused, each with its status and what is wrong with it."""

from __future__ import annotations

HOST = b"Host: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def put(headers: bytes, body: bytes, *, version: bytes = b"1.1") -> bytes:
    """An upload to ``/echo``."""
    return b"PUT /echo HTTP/" + version + b"\r\n" + HOST + headers + b"\r\n" + body


def get(headers: bytes = b"", *, target: bytes = b"/echo", version: bytes = b"1.1") -> bytes:
    """A request without a body."""
    return b"GET " + target + b" HTTP/" + version + b"\r\n" + HOST + headers + b"\r\n"


TAKEN = {
    "plain": get(),
    "query": get(target=b"/echo?Policy=a~b&&Signature=x%2F%zz?!"),
    "many headers": get(b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(90))),
    "white space around values": get(b"A:\r\nB:   a b \t \r\nC:\tc\r\n"),
    "bytes of 8 bits in a value": get(b"X: \xc3\xa9\xff\r\n"),
    "empty lines first": b"\r\n\r\n" + get(),
    "absolute form": get(target=b"http://a:80/echo?x=1"),
    "absolute form without a path": get(target=b"HTTP://a?x"),
    "asterisk form": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "head": b"HEAD /echo HTTP/1.1\r\n" + HOST + b"\r\n",
    "http/1.0": get(version=b"1.0"),
    "http/1.0 keeps alive": get(b"Connection: keep-alive\r\n", version=b"1.0"),
    "close": get(b"Connection: close\r\n"),
    "an upgrade that is not taken up": get(
        b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n"
    ),
    "length": put(b"Content-Length: 5\r\n", b"hello"),
    "length of zero": put(b"Content-Length: 0\r\n", b""),
    "length with zeros in front": put(b"Content-Length: 005\r\n", b"hello"),
    "get with a body": get(b"Content-Length: 3\r\n") + b"abc",
    "chunks": put(CHUNKED, b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
    "chunks with an extension and a trailer": put(CHUNKED, b'3;a="b"\r\nabc\r\n0\r\nX-Trailer: t\r\n\r\n'),
    "chunks of no data": put(b"transfer-encoding: Chunked\r\n", b"0\r\n\r\n"),
    "expects": put(b"Expect: 100-continue\r\nContent-Length: 5\r\n", b"hello"),
    "data like the end of a head": put(b"Content-Length: 12\r\n", b"\r\n\r\n\r\n\r\n\r\n\r\n"),
    "chunk like the end of a head": put(CHUNKED, b"8\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n"),
}
"""Each is one whole request."""

REFUSED = {
    "length and coding": (400, put(b"Content-Length: 3\r\n" + CHUNKED, b"0\r\n\r\n")),
    "coding and length": (400, put(CHUNKED + b"Content-Length: 3\r\n", b"0\r\n\r\n")),
    "two lengths": (400, put(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abc")),
    "two equal lengths": (400, put(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc")),
    "length with a sign": (400, put(b"Content-Length: +3\r\n", b"abc")),
    "length below zero": (400, put(b"Content-Length: -3\r\n", b"abc")),
    "list of lengths": (400, put(b"Content-Length: 3, 3\r\n", b"abc")),
    "length in hexadecimal": (400, put(b"Content-Length: 0x3\r\n", b"abc")),
    "length with a space in it": (400, put(b"Content-Length: 1 3\r\n", b"abc")),
    "empty length": (400, put(b"Content-Length:\r\n", b"abc")),
    "length of 2^64": (400, put(b"Content-Length: 18446744073709551616\r\n", b"abc")),
    "identity": (501, put(b"Transfer-Encoding: identity\r\n", b"abc")),
    "no chunked at the end": (400, put(b"Transfer-Encoding: chunked, gzip\r\n", b"abc")),
    "unknown coding": (501, put(b"Transfer-Encoding: xchunked\r\n", b"abc")),
    "coding with a vertical tab": (400, put(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n")),
    "a coding before chunked": (501, put(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n")),
    "chunked twice in one line": (400, put(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n")),
    "chunked twice": (400, put(CHUNKED + CHUNKED, b"0\r\n\r\n")),
    "chunked in http/1.0": (400, put(CHUNKED, b"0\r\n\r\n", version=b"1.0")),
    "a space before the colon": (400, put(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n")),
    "a tab before the colon": (400, put(b"Content-Length\t: 3\r\n", b"abc")),
    "a space in a name": (400, get(b"X Y: a\r\n")),
    "an empty name": (400, get(b": a\r\n")),
    "a line without a colon": (400, get(b"XYZ\r\n")),
    "a space before the first header": (400, b"GET /echo HTTP/1.1\r\n Host: a\r\n\r\n"),
    "a folded line": (400, get(b"X: a\r\n b\r\n")),
    "a folded coding": (400, put(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n")),
    "lines that end in LF": (400, b"GET /echo HTTP/1.1\nHost: a\n\n"),
    "a header line that ends in LF": (400, get(b"X: a\nY: b\r\n")),
    "a bare CR in a value": (400, get(b"X: a\rY: b\r\n")),
    "NUL in a value": (400, get(b"X: a\0b\r\n")),
    "a control character in a value": (400, get(b"X: a\x01b\r\n")),
    "DEL in a value": (400, get(b"X: a\x7fb\r\n")),
    "NUL in a name": (400, get(b"X\0: a\r\n")),
    "8 bits in a name": (400, get(b"X\xe9: a\r\n")),
    "NUL in the target": (400, get(target=b"/\0")),
    "8 bits in the target": (400, get(target=b"/\xc3\xa9")),
    "two spaces in front of the version": (400, get(target=b"/echo ")),
    "two spaces behind the method": (400, get(target=b" /echo")),
    "a space in the target": (400, get(target=b"/a b")),
    "a tab in the target": (400, get(target=b"/a\tb")),
    "a fragment": (400, get(target=b"/a#b")),
    "a quotation mark in the target": (400, get(target=b'/a"b')),
    "angles in the target": (400, get(target=b"/<a>")),
    "a target without a slash": (400, get(target=b"echo")),
    "an asterisk": (400, get(target=b"*")),
    "another scheme": (400, get(target=b"ftp://a/echo")),
    "an authority": (405, b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "http/0.9": (505, b"GET /echo\r\n\r\n"),
    "http/2.0": (505, get(version=b"2.0")),
    "http/1.2": (400, get(version=b"1.2")),
    "http/9.9": (400, get(version=b"9.9")),
    "the preface of http/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "an unknown method": (400, b"FOO /echo HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a method in lower case": (400, b"get /echo HTTP/1.1\r\n" + HOST + b"\r\n"),
    "an upgrade with a body": (400, put(b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 3\r\n", b"abc")),
    "101 headers": (431, get(b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(100)))),
}
"""Refused by the head alone."""

BROKEN_BODIES = {
    "a chunk's size that is none": put(CHUNKED, b"zz\r\nabc\r\n0\r\n\r\n"),
    "a chunk's size with a sign": put(CHUNKED, b"+3\r\nabc\r\n0\r\n\r\n"),
    "a chunk's size in the form of C": put(CHUNKED, b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a chunk's size of 2^64": put(CHUNKED, b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "a chunk's size with a space behind": put(CHUNKED, b"3 \r\nabc\r\n0\r\n\r\n"),
    "a chunk longer than it says": put(CHUNKED, b"2\r\nabc\r\n0\r\n\r\n"),
    "a chunk shorter than it says": put(CHUNKED, b"4\r\nabc\r\n0\r\n\r\n"),
    "chunks with LF": put(CHUNKED, b"3\nabc\n0\n\n"),
    "a chunk's data that ends in LF": put(CHUNKED, b"3\r\nabc\n0\r\n\r\n"),
    "a bare LF in an extension": put(CHUNKED, b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    "a trailer that is none": put(CHUNKED, b"3\r\nabc\r\n0\r\nX Y\r\n\r\n"),
}
"""The head is taken; the body is refused where it breaks."""
