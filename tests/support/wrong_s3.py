"""A small S3 server in this process whose faults are switched on by name, for what no real server can be made to do.

Without a fault it keeps ``If-None-Match: *`` and ``If-Match`` on PUT and on completions, and on copies as R2 does. Where
``listed_count`` is set its lists are of that many keys, made while they are asked for: a bucket that takes no memory.

``ignores-if-none-match``, ``ignores-if-match``: writes all the same. ``ignores-completion-conditions``,
``ignores-copy-conditions``: the same for those two. ``501-conditions``: says so. ``whole-to-range``: 200 and the whole
object to a range. ``replaced-after-look``: 412 to a GET with ``If-Match``. ``other-range``: 206, and other bytes than were asked for. ``other-etag``: answers to GET with another
object than HEAD. ``short-body``: a range ends early. ``half-body``: what is asked
for whole ends in its middle. ``403``, ``503``: to everything. ``503-get``, ``500-put-done``: writes, then
says 500. ``bare-etags``: knows ``If-Match`` only without quotes, as Ceph 16; ``ignores-bare-etags``:
only with them. ``400-unsigned``: takes no body whose hash is not signed. ``501-multipart``,
``503-multipart`` and so on: to every multipart upload. ``versions-Enabled``,
``versions-Suspended``: says so of the bucket; ``versions-403``: does not tell. ``hangs-up``: closes
when a long body begins. ``racy``: looks at a condition, and writes later without it. ``lost-put-done``: writes, then closes. ``error-in-200``: a completion is refused with status 200.
"""

import contextlib
import hashlib
import threading
import time
import uuid
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape


class WrongS3:
    """The server; entering starts it."""

    def __init__(self, *faults):
        self.faults = set(faults)
        self.objects = {}
        self.uploads = {}
        self.calls = Counter()
        self.lock = threading.Lock()
        self.clock_ahead_s = 0
        self.open_requests = 0
        self.listed_count = 0
        handler = type("Handler", (_Handler,), {"world": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextlib.contextmanager
    def counted(self):
        """Count the requests that are being answered: at none, what was broken off is known to have been dropped."""
        with self.lock:
            self.open_requests += 1
        try:
            yield
        finally:
            with self.lock:
                self.open_requests -= 1

    def now(self):
        """Say what its clock says."""
        return time.time() + self.clock_ahead_s


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: WrongS3
    was_looked_at = False

    def log_message(self, *_):
        """Say nothing."""

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def date_time_string(self, timestamp=None):
        return formatdate(self.world.now() if timestamp is None else timestamp, usegmt=True)

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 304 and "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, code):
        self.answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    def do(self):
        with self.world.counted():
            return self.do_what_is_asked()

    def do_what_is_asked(self):
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        key = unquote(parts.path).split("/", 2)[2] if parts.path.count("/") > 1 else ""
        world, length = self.world, int(self.headers.get("Content-Length") or 0)
        if "hangs-up" in world.faults and length > 1 << 20:
            self.close_connection = True
            return self.connection.close()
        body = self.rfile.read(length)
        if len(body) < length:  # the client went: what came half is nothing
            self.close_connection = True
            return None
        world.calls[self.command] += 1
        if "400-unsigned" in world.faults and self.headers.get("x-amz-content-sha256") == "UNSIGNED-PAYLOAD" and body:
            return self.error(400, "XAmzContentSHA256Mismatch")
        if "403" in world.faults:
            return self.error(403, "AccessDenied")
        if "503" in world.faults or ("503-get" in world.faults and self.command == "GET"):
            return self.error(503, "SlowDown")
        if "racy" in world.faults and self.command in {"PUT", "POST"}:
            self.was_looked_at = False
            with world.lock:
                status = self.refused_by(key, set())
            if status:
                return self.error(status, "PreconditionFailed")
            time.sleep(0.05)
            self.was_looked_at = True
        with world.lock:
            outcome = getattr(self, f"do_{self.command.lower()}_object")(key, query, body)
        return outcome()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do  # noqa: N815  the names that http.server looks for

    def refused_by(self, key, ignored, prefix=""):
        """Whether a condition on what stands at a key does not hold."""
        if "501-conditions" in self.world.faults and self.headers.get(f"{prefix}if-none-match"):
            return 501
        if self.was_looked_at:
            return 0
        stands = self.world.objects.get(key)
        if self.headers.get(f"{prefix}if-none-match") and stands and not ignored & self.world.faults:
            return 412
        wanted = self.headers.get(f"{prefix}if-match")
        if wanted and "bare-etags" in self.world.faults:
            wanted = f'"{wanted}"'
        if wanted and "ignores-bare-etags" in self.world.faults and not wanted.startswith('"'):
            return 0
        ignored = {"ignores-if-match", *(ignored - {"ignores-if-none-match"})}
        if wanted and (not stands or stands["etag"] != wanted) and not ignored & self.world.faults:
            return 412 if stands else 404
        return 0

    def store(self, key, data, headers):
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        kept = {
            name: value for name, value in headers.items() if name.lower().startswith(("content-type", "x-amz-meta"))
        }
        self.world.objects[key] = {"data": data, "etag": etag, "headers": kept, "at": self.world.now()}
        return etag

    def do_put_object(self, key, query, body):
        world = self.world
        if "uploadId" in query:
            world.uploads[query["uploadId"][0]]["parts"][int(query["partNumber"][0])] = body
            etag = f'"{hashlib.md5(body).hexdigest()}"'
            return lambda: self.answer(200, ETag=etag)
        source = self.headers.get("x-amz-copy-source")
        if source:
            if status := self.refused_by(key, {"ignores-copy-conditions"}, "cf-copy-destination-"):
                return lambda: self.error(status, "PreconditionFailed")
            found = world.objects[unquote(source).lstrip("/").split("/", 1)[1]]
            etag = self.store(key, found["data"], found["headers"])
            return lambda: self.answer(200, f"<CopyObjectResult><ETag>{etag}</ETag></CopyObjectResult>".encode())
        if status := self.refused_by(key, {"ignores-if-none-match"}):
            return lambda: self.error(status, "PreconditionFailed" if status == 412 else "NotImplemented")
        etag = self.store(key, body, self.headers)
        if "500-put-done" in world.faults:
            world.faults.discard("500-put-done")
            return lambda: self.error(500, "InternalError")
        if "lost-put-done" in world.faults:
            self.close_connection = True
            return self.connection.close
        return lambda: self.answer(200, ETag=etag)

    def do_post_object(self, key, query, body):
        world = self.world
        if "uploads" in query:
            for fault in world.faults:
                if fault.endswith("-multipart"):
                    return lambda: self.error(int(fault[:3]), "NotImplemented" if fault[:3] == "501" else "SlowDown")
            upload_id = uuid.uuid4().hex
            world.uploads[upload_id] = {"key": key, "parts": {}, "headers": dict(self.headers)}
            return lambda: self.answer(200, f"<X><UploadId>{upload_id}</UploadId></X>".encode())
        if "delete" in query:
            for part in body.decode().split("<Key>")[1:]:
                world.objects.pop(unescape(part.split("</Key>")[0]), None)
            return lambda: self.answer(200, b"<DeleteResult></DeleteResult>")
        upload_id = query["uploadId"][0]
        if upload_id not in world.uploads:
            return lambda: self.error(404, "NoSuchUpload")
        if "error-in-200" in world.faults:
            return lambda: self.answer(200, b"<?xml version='1.0'?>\n<Error><Code>InternalError</Code></Error>")
        if status := self.refused_by(key, {"ignores-completion-conditions"}):
            return lambda: self.error(status, "PreconditionFailed")
        upload = world.uploads.pop(upload_id)
        etag = self.store(key, b"".join(data for _, data in sorted(upload["parts"].items())), upload["headers"])
        return lambda: self.answer(200, f"<X><ETag>{etag}</ETag></X>".encode())

    def do_delete_object(self, key, query, body):
        if "uploadId" in query:
            found = self.world.uploads.pop(query["uploadId"][0], None)
            return lambda: self.answer(204) if found else self.error(404, "NoSuchUpload")
        if status := self.refused_by(key, {"ignores-delete-conditions"}):
            return lambda: self.error(status, "PreconditionFailed")
        self.world.objects.pop(key, None)
        return lambda: self.answer(204)

    def do_head_object(self, key, query, body):
        return self.do_get_object(key, query, body)

    def do_get_object(self, key, query, body):
        if not key and "versioning" in query:
            status = next((fault.removeprefix("versions-") for fault in self.world.faults if "versions-" in fault), "")
            if status == "403":
                return lambda: self.error(403, "AccessDenied")
            words = status and f"<Status>{status}</Status>"
            return lambda: self.answer(200, f"<VersioningConfiguration>{words}</VersioningConfiguration>".encode())
        if not key or "list-type" in query:
            return self.list_objects(query)
        found = self.world.objects.get(key)
        if found is None:
            return lambda: self.error(404, "NoSuchKey")
        data, etag, faults = found["data"], found["etag"], self.world.faults
        headers = {"ETag": etag, "Last_Modified": formatdate(found["at"], usegmt=True)}
        headers |= {name.replace("-", "_"): value for name, value in found["headers"].items()}
        if self.command == "HEAD":
            return lambda: self.answer(200, Content_Length=str(len(data)), **headers)
        if "other-etag" in faults:
            headers["ETag"] = '"another"'
        elif (wanted := self.headers.get("if-match")) and (wanted != etag or "replaced-after-look" in faults):
            return lambda: self.error(412, "PreconditionFailed")
        if self.headers.get("if-none-match") == etag:
            return lambda: self.answer(304, **headers)
        span = self.headers.get("range")
        if span and "whole-to-range" not in faults:
            start, end = (int(number) for number in span.removeprefix("bytes=").split("-"))
            if "other-range" in faults:
                start, end = start + 1, end + 1
            headers["Content_Range"] = f"bytes {start}-{min(end, len(data) - 1)}/{len(data)}"
            part = data[start : end + 1]
            if "short-body" in faults:
                headers["Content_Length"], part = str(len(part)), part[:-1]
                self.close_connection = True
            return lambda: self.answer(206, part, **headers)
        if "half-body" in faults:
            headers["Content_Length"], data = str(len(data)), data[: len(data) // 2]
            self.close_connection = True
        return lambda: self.answer(200, data, **headers)

    def list_objects(self, query):
        prefix, after = query.get("prefix", [""])[0], query.get("start-after", [""])[0]
        after = query.get("continuation-token", [after])[0]
        if self.world.listed_count:
            return self.list_numbers(prefix, after, int(query.get("max-keys", ["1000"])[0]))
        keys = sorted(key for key in self.world.objects if key.startswith(prefix) and key > after)
        size = int(query.get("max-keys", ["1000"])[0])
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.world.objects[key]['data'])}</Size>"
            f"<LastModified>{time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime(self.world.objects[key]['at']))}</LastModified>"
            f"<ETag>{self.world.objects[key]['etag']}</ETag></Contents>"
            for key in keys[:size]
        )
        more = f"<NextContinuationToken>{escape(keys[size - 1])}</NextContinuationToken>" if len(keys) > size else ""
        cut = "true" if more else "false"
        text = f"<ListBucketResult><IsTruncated>{cut}</IsTruncated>{more}{rows}</ListBucketResult>"
        return lambda: self.answer(200, text.encode())

    def list_numbers(self, prefix, after, size):
        """Answer with a page of a bucket that holds ``00000000``, ``00000001`` and so on beneath the prefix."""
        first = int(after.removeprefix(prefix)) + 1 if after else 0
        last = min(first + size, self.world.listed_count) - 1
        rows = "".join(
            f"<Contents><Key>{escape(prefix)}{number:08}</Key><Size>{number}</Size>"
            f'<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"{number:032x}"</ETag></Contents>'
            for number in range(first, last + 1)
        )
        is_cut = last + 1 < self.world.listed_count
        more = f"<NextContinuationToken>{escape(prefix)}{last:08}</NextContinuationToken>" if is_cut else ""
        cut = str(is_cut).lower()
        text = f"<ListBucketResult><IsTruncated>{cut}</IsTruncated>{more}{rows}</ListBucketResult>"
        return lambda: self.answer(200, text.encode())
