"""The media type of a file, by the suffix of its name: one fixed table, the same on every machine and Python version.

The standard library's ``mimetypes`` reads the system's files and grows with each Python. Types have no charset, since a
name does not tell it and object stores add none. A compressed file has the type of the archive (``application/gzip``),
never that of its content with a Content-Encoding: viewers are to save the bytes that were stored.

Source: IANA's registry of media types; our choice of suffixes.
"""

from __future__ import annotations

DEFAULT_MEDIA_TYPE = "application/octet-stream"

_SUFFIXES_BY_TYPE = {
    # documents
    "application/epub+zip": "epub",
    "application/msword": "doc dot",
    "application/pdf": "pdf",
    "application/postscript": "ps eps ai",
    "application/rtf": "rtf",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    # text
    "text/calendar": "ics",
    "text/css": "css",
    "text/csv": "csv",
    "text/html": "html htm",
    "text/javascript": "js mjs",
    "text/markdown": "md markdown",
    "text/plain": "txt text log conf ini",
    "text/tab-separated-values": "tsv",
    "text/vcard": "vcf",
    "text/vtt": "vtt",
    # data and programs
    "application/json": "json",
    "application/ld+json": "jsonld",
    "application/manifest+json": "webmanifest",
    "application/toml": "toml",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.sqlite3": "sqlite sqlite3",
    "application/wasm": "wasm",
    "application/x-ndjson": "ndjson jsonl",
    "application/x-sh": "sh",
    "application/xml": "xml xsd xsl",
    "application/yaml": "yaml yml",
    # archives and packages
    "application/gzip": "gz tgz",
    "application/java-archive": "jar",
    "application/vnd.android.package-archive": "apk",
    "application/vnd.debian.binary-package": "deb",
    "application/vnd.rar": "rar",
    "application/x-7z-compressed": "7z",
    "application/x-apple-diskimage": "dmg",
    "application/x-bzip2": "bz2",
    "application/x-iso9660-image": "iso",
    "application/x-msi": "msi",
    "application/x-rpm": "rpm",
    "application/x-tar": "tar",
    "application/x-xz": "xz txz",
    "application/zip": "zip whl",
    "application/zstd": "zst",
    # sound
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/midi": "mid midi",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg oga opus",
    "audio/wav": "wav",
    "audio/webm": "weba",
    # pictures and fonts
    "font/otf": "otf",
    "font/ttf": "ttf",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "image/apng": "apng",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/jpeg": "jpg jpeg jpe",
    "image/jxl": "jxl",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tif tiff",
    "image/vnd.adobe.photoshop": "psd",
    "image/vnd.microsoft.icon": "ico",
    "image/webp": "webp",
    # video and streams
    "application/dash+xml": "mpd",
    "application/vnd.apple.mpegurl": "m3u8",
    "video/3gpp": "3gp",
    "video/mp2t": "ts",
    "video/mp4": "mp4 m4v",
    "video/mpeg": "mpg mpeg",
    "video/ogg": "ogv",
    "video/quicktime": "mov qt",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/x-msvideo": "avi",
    # mail
    "message/rfc822": "eml",
}

_TYPE_BY_SUFFIX = {
    suffix: media_type for media_type, suffixes in _SUFFIXES_BY_TYPE.items() for suffix in suffixes.split()
}


_OTHER_NAMES = {
    "application/csv": "text/csv",
    "application/javascript": "text/javascript",
    "application/rar-compressed": "application/vnd.rar",
    "application/zip-compressed": "application/zip",
    "audio/m4a": "audio/mp4",
    "audio/mp3": "audio/mpeg",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "image/icon": "image/vnd.microsoft.icon",
    "image/jpg": "image/jpeg",
    "image/ms-bmp": "image/bmp",
    "image/pjpeg": "image/jpeg",
    "text/xml": "application/xml",
    "text/yaml": "application/yaml",
    "video/avi": "video/msvideo",
    "video/m4v": "video/mp4",
}
"""What browsers and tools write for a registered name; each also with ``x-`` before its second half."""


def common_name_of(media_type: str) -> str:
    """One name for a media type of which several are in use, to compare two by; without ``x-``, so not to be shown."""
    plain = media_type.replace("/x-", "/")
    return _OTHER_NAMES.get(plain, plain)


def media_type_of(key: str) -> str:
    """Guess an object's media type from the last suffix of its key; ``application/octet-stream`` for any other."""
    _, dot, suffix = key.rpartition(".")
    return _TYPE_BY_SUFFIX.get(suffix.lower(), DEFAULT_MEDIA_TYPE) if dot else DEFAULT_MEDIA_TYPE
