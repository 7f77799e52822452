"""Write the generated parts of docs/reference/ from the code, or check that they are as the code says.

    tools/gen_reference.py            write
    tools/gen_reference.py --check    say what differs, exit status 1

A page is written by hand, but for what stands between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``.
What code cannot say (what an event means, what a weaker promise costs) is said in the tables below; a new event
without a word fails here.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import json
import pathlib
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import click
import dependencies  # the file beside this one

from oncegate import events, meters
from oncegate.cli.main import COMMANDS, cli
from oncegate.control.app import openapi_document
from oncegate.ledgers import opening
from oncegate.links.refusal import TABLE, Reason, Style
from oncegate.settings import tables as settings
from oncegate.settings.table import keys_of

REFERENCE = pathlib.Path(__file__).parents[1] / "docs" / "reference"
LINE_MAX = 118
_PART = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end of \2 -->\n)", re.DOTALL)

EVENT_WORDS: Mapping[str, str] = {
    "request": "one line for each request, at its end; of the control API too, with `outcome` naming the call",
    "download": "bytes of an object went out; told when its end is known. `outcome` is `complete` (all was acknowledged), "
    "`handed over` (all was handed to a Unix socket or another server, which says no more), `unread` (acknowledged, then the "
    "connection was reset), `unacknowledged`, `never sent`, or what broke it: `broken`, `stalled`, `failed` or "
    "`continued elsewhere`. `bytes` were sent, `acked` of them acknowledged, `taken_by` the `client` or a trusted `proxy`; with `by` = `proxy`, the proxy in front sent it and its log told the end (`failed`: it answered "
    "without the object; `unknown`: no line came), so nobody knows what the viewer acknowledged",
    "upload": "bytes of an upload came in; `outcome` is `complete`, or what broke it",
    "preview": "a preview or a prefetch got the page in place of the object; nothing was spent. At most one event a "
    "minute for each link and `why`; `count`: how many it stands for, where more than one",
    "refused": "a genuine link was refused; `reason` is a row of [errors.md](errors.md). At most one event a minute for "
    "each link and reason; `count`: how many it stands for, where more than one",
    "issued": "the control API made a link; `token` is the id of the caller's token",
    "revoked": "a link was revoked",
    "removed": "a link signed with `once-delete` gives nothing any more; its object was `removed`, or was `gone or "
    "replaced` before",
    "ready": "a listener answers",
    "draining": "the process was asked to stop, and lets transfers finish",
    "stopped": "the process is about to end; `transfers` were cut",
    "keys-changed": "the key group's folder changed; `keys` are trusted now",
    "signing-changed": "new links are signed with another key, of the id `key`; without it, with none",
    "settings-changed": "the configuration file differs in `settings` from what this process began with: restart to apply",
    "swept": "records of links long over, and leftovers of killed uploads, were forgotten",
    "fault": "something went wrong inside; `where` and `what` never hold a URL",
    "dropped": "lines or events could not be written, because nobody took them",
}
WEAKER_WORDS: Mapping[str, str] = {
    "sqlite-network-file-system": "The file lies on a network or FUSE file system, or on one whose kind cannot be seen. "
    "SQLite's log is memory that all its users share; two machines share none. Accept it only where **one machine "
    "alone** opens the file. If a second one does, a link can be used once on each.",
    "postgresql-async-standby": "A standby gets the log after the answer. If it is made primary, the last claims that "
    "were answered may be missing, and those links open again. Accept it where a fail-over is followed by "
    "`accept_from`, or where some reuse after one is bearable; or make a standby synchronous. The same name stands for "
    "a server whose standbys cannot be seen (grant `pg_monitor`).",
    "postgresql-no-fsync": "`fsync` is off: a crash of the machine may forget claims that were answered, and those links "
    "open again. Accept it only where something else keeps the log before a commit is answered, as Neon does (its "
    "safekeepers, which it names as synchronous standbys).",
    "postgresql-no-full-page-writes": "`full_page_writes` is off. After a loss of power a page may be half written; "
    "claims on it are then lost. Accept it where the storage writes pages whole (ZFS, Aurora, Neon).",
    "dynamodb-global-table": "The table is replicated to other Regions without strong consistency: each Region decides "
    "for itself, and the last writer wins. A link can be used once in each Region. Accept it only where every gateway "
    "writes in one Region, and after that Region was lost set `accept_from`.",
    "redis-no-aof": "There is no append-only file: a restart forgets every claim since the last snapshot, and those "
    "links open again. For trying things out.",
    "redis-everysec": "`appendfsync everysec`: a crash of the machine loses the last second or two, and the links of "
    "those claims open again. A crash of the server alone loses nothing.",
    "redis-no-fsync": "`appendfsync no`: a crash of the machine loses whatever the system had not written, usually up "
    "to half a minute.",
    "redis-no-fsync-on-rewrite": "`no-appendfsync-on-rewrite yes`: while the file is rewritten, nothing is forced to "
    "the disk; a crash of the machine in that time loses those claims.",
    "redis-eviction": "`maxmemory-policy` is another than `noeviction`: when memory is full, records are thrown away, "
    "and links that were used open again. Without `maxmemory` it does so as soon as somebody sets that. Accept it only "
    "where something else keeps the memory from filling.",
    "redis-failover": "A replica, a cluster's node or a Sentinel may promote a replica that lacks the last writes: "
    "replication is asynchronous. The links of those claims open again. `wait=N` in the URL answers only after N "
    "replicas have a write; that makes the loss rarer and does not rule it out.",
    "redis-unseen-persistence": "The server does not tell how it persists (a managed service without `CONFIG`). "
    "Accept it if the provider says in writing that each write is forced to the disk before it is answered.",
}
SETTING_WORDS: Mapping[tuple[str, str], str] = {
    ("store", "url"): "where the objects are: the scheme names the backend",
    ("store", "options"): "the backend's own options, as text; may hold secrets",
    ("ledger", "url"): "where uses are recorded: the scheme names the backend; may hold a password",
    ("ledger", "accept_from"): "tickets made before this instant are refused; without it, those made before the "
    "ledger's birth",
    ("keys", "group"): "the folder of the key group",
    ("s3_credentials", "s3_credentials"): "secret by access key id, to accept and to make S3 presigned URLs",
}
"""In place of the docstring, where that speaks to readers of the code."""


def generated_settings() -> str:
    """A table for each table of the configuration."""
    parts: list[str] = []
    for name, table in settings.TABLES.items():
        words = _attributes_of(table)
        summary = inspect.getdoc(table).splitlines()[0].partition(": ")[2].rstrip(".")
        rows = ["| Key | Default | Variable | Meaning |", "|---|---|---|---|"]
        for entry, key in keys_of(table):
            is_whole = name == "s3_credentials"
            variable = f"ONCEGATE_{name.upper()}" + ("" if is_whole else f"__{key.name.upper()}")
            shown = "*access key id*" if is_whole else f"`{key.name}`"
            meaning = SETTING_WORDS.get((name, key.name)) or words.get(entry.name, summary).rstrip(".")
            rows.append(f"| {shown} | {_default_of(entry)} | `{variable}` | {meaning} |")
        parts.append(f"## `[{name}]`\n\n{summary[:1].upper()}{summary[1:]}.\n\n" + "\n".join(rows))
    return "\n\n".join(parts)


def _attributes_of(table: type) -> dict[str, str]:
    """What the docstring says of each field."""
    _, _, text = inspect.getdoc(table).partition("Attributes:\n")
    joined = re.sub(r"\n        +", " ", text)
    found = re.findall(r"^    (\w+): (.+)$", joined, re.MULTILINE)
    return {name: words.replace("``", "`").replace("|", "\\|") for name, words in found}


def _default_of(entry: dataclasses.Field[Any]) -> str:
    value = entry.default
    if value is dataclasses.MISSING:
        return "none"
    if value is None or value in ("", ()):
        return "none" if value != () else "`[]`"
    if entry.name.endswith("_s"):
        return f"`{_duration(value)}`"
    if entry.name.endswith("_bytes"):
        return f"`{_size(value)}`"
    return f"`{value[0] if isinstance(value, tuple) else value}`"


def _duration(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _size(size: int) -> str:
    for unit, length in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if size % length == 0:
            return f"{size // length}{unit}"
    return str(size)


def generated_cli() -> str:
    """Every command, as its help has it."""
    return "\n\n".join(_command(["oncegate", name], cli.get_command(click.Context(cli), name)) for name in COMMANDS)


def _command(path: list[str], command: click.Command) -> str:
    context = click.Context(command, info_name=path[-1])
    usage = " ".join([*path, *command.collect_usage_pieces(context)])
    words = inspect.cleandoc((command.help or "").replace("\b\n", "\n").replace("\\b", "")).partition("\f")[0]
    words, _, own = words.partition("\nExample")
    parts = [f"{'#' * (len(path))} `{' '.join(path)}`", f"```text\n{usage}\n```", words.strip()]
    rows = [_option(option) for option in command.params if isinstance(option, click.Option)]
    if rows:
        parts.append("| Option | Default | Meaning |\n|---|---|---|\n" + "\n".join(rows))
    examples = command.epilog or own.partition(":\n")[2]
    lines = [line.strip() for line in examples.replace("\b", "").replace("Examples:", "").splitlines() if line.strip()]
    if lines:
        parts.append("```console\n" + "\n".join(f"$ {line}" for line in lines) + "\n```")
    if isinstance(command, click.Group):
        parts += [_command([*path, name], command.commands[name]) for name in command.commands]
    return "\n\n".join(parts)


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    if not option.is_flag:
        limits = option.type
        is_range = isinstance(limits, click.IntRange)
        metavar = f"{limits.min}-{limits.max}" if is_range else option.make_metavar(click.Context(click.Command("x")))
        names = f"{names} {metavar}".replace("|", "\\|")
    words, _, default = (option.help or "").partition("  [default: ")
    shown = default.rstrip("]")
    if not shown and option.show_default and option.default not in (None, ()):
        many = isinstance(option.default, (tuple, list))
        shown = ", ".join(option.default) if many else str(option.default)
    return f"| {names} | {shown.replace('|', chr(92) + '|')} | {words.strip().replace('|', chr(92) + '|')} |"


_STYLES = {Style.CLOUDFRONT: "CloudFront", Style.S3: "S3", Style.OF_THE_LINK: "of the link"}


def generated_errors() -> str:
    """Every reason, in the order of the table."""
    rows = ["| Reason | Status | Code | Body | Message | Words for the holder |", "|---|---|---|---|---|---|"]
    for reason in Reason:
        row = TABLE[reason]
        rows.append(
            f"| `{reason.value}` | {row.status} | `{row.code}` | {_STYLES[row.style]} | {row.message} | {row.words or ''} |"
        )
    return "\n".join(rows)


def generated_events() -> str:
    """Every event."""
    rows = ["| Event | Level | Kept | Fields | Meaning |", "|---|---|---|---|---|"]
    for name, row in events.ROWS.items():
        fields = ", ".join(f"`{field}`" for field in sorted(row.fields))
        kept = "yes" if row.audited else ""
        rows.append(f"| `{name}` | {row.level} | {kept} | {fields} | {_said(EVENT_WORDS, name)} |")
    return "\n".join(rows)


def generated_metrics() -> str:
    """Every count and every histogram."""
    rows = ["| Metric | Labels | Meaning |", "|---|---|---|"]
    for name, meter in meters.TABLE.items():
        shown = ", ".join(f"`{label}`" for label in meter.labels)
        rows.append(f"| `oncegate_{name}_total` | {shown} | {meter.help} |")
    for name, meter in meters.HISTOGRAMS.items():
        shown = ", ".join(f"`{label}`" for label in meter.labels)
        bounds = ", ".join(str(bound) for bound in meter.bounds)
        rows.append(f"| `oncegate_{name}` | {shown} | {meter.help}: a histogram with the bounds {bounds} |")
    return "\n".join(rows)


def generated_accept() -> str:
    """Every weaker promise, by ledger."""
    parts: list[str] = []
    for scheme, module in opening.BACKENDS.items():
        names = sorted(importlib.import_module(module).WEAKER_PROMISES)
        words = "\n".join(f"- `{name}`: {_said(WEAKER_WORDS, name)}" for name in names)
        parts.append(f"## `{scheme}:`\n\n{words or 'None: there is nothing to accept.'}")
    return "\n\n".join(parts)


def _said(words: Mapping[str, str], name: str) -> str:
    if name not in words:
        raise SystemExit(f"{name} is new: say in tools/gen_reference.py what it means")
    return words[name]


def generated_control() -> str:
    """Every call of the control API, from its OpenAPI document."""
    document = openapi_document()
    parts: list[str] = []
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            scopes = [scope for entry in call.get("security", []) for scope in entry.get("HTTPBearer", [])]
            who = f"Scope `{scopes[0]}`." if scopes else "No token."
            answers = ", ".join(status for status in sorted(call["responses"]) if status != "default")
            text = [f"### `{method.upper()} {path}`", f"{call['description']} {who} Answers: {answers}."]
            given = [_parameter(item) for item in call.get("parameters", [])]
            body = call.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None:
                given += _members(document, body["schema"])
            if given:
                text.append("| Name | In | Type | Default | Meaning |\n|---|---|---|---|---|\n" + "\n".join(given))
            parts.append("\n\n".join(text))
    return "\n\n".join(parts)


def _parameter(item: Mapping[str, Any]) -> str:
    schema = item["schema"]
    words = item.get("description", "")
    return f"| `{item['name']}` | {item['in']} | {_type(schema)} | {_json_default(schema)} | {_cell(words)} |"


def _members(document: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    model = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    required = model.get("required", [])
    return [
        f"| `{name}` | body | {_type(member)} | {'required' if name in required else _json_default(member)} "
        f"| {_cell(member.get('description', ''))} |"
        for name, member in model["properties"].items()
    ]


def _json_default(schema: Mapping[str, Any]) -> str:
    value = schema.get("default")
    if value is None or value == "":
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("format") or schema.get("type", "text")
    limits = [f"{int(schema[name])}" for name in ("minimum", "maximum") if name in schema]
    return f"{kind} {' to '.join(limits)}".strip() if len(limits) == 2 else kind


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


GENERATORS: Mapping[str, Callable[[], str]] = {
    "settings": generated_settings,
    "cli": generated_cli,
    "errors": generated_errors,
    "events": generated_events,
    "metrics": generated_metrics,
    "accept": generated_accept,
    "control": generated_control,
    "dependencies": dependencies.table,
}


def fill(text: str) -> str:
    """Put what the code says between the marks of a page."""
    return _PART.sub(lambda found: f"{found[1]}\n{_wrapped(GENERATORS[found[2]]())}\n\n{found[4]}", text)


def _wrapped(text: str) -> str:
    """Break lines of prose; tables and code stay as they are."""
    lines: list[str] = []
    is_code = False
    for line in text.split("\n"):
        is_code ^= line.startswith("```")
        if is_code or len(line) <= LINE_MAX or line.startswith(("|", "#")):
            lines.append(line)
            continue
        indent = "  " if line.startswith("- ") else ""
        lines += textwrap.wrap(line, LINE_MAX, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def main() -> int:
    """Write the pages, or say how they differ."""
    is_check = "--check" in sys.argv[1:]
    wrong, seen = 0, set[str]()
    for page in sorted((*REFERENCE.glob("*.md"), REFERENCE / "openapi.json")):
        text = page.read_text()
        seen.update(found[1] for found in _PART.findall(text))
        filled = fill(text) if page.suffix == ".md" else json.dumps(openapi_document(), indent=2) + "\n"
        if filled == text:
            continue
        wrong += 1
        if is_check:
            lines = difflib.unified_diff(
                text.splitlines(), filled.splitlines(), page.name, "as the code says", lineterm="", n=0
            )
            print("\n".join(lines))
        else:
            page.write_text(filled)
            print(f"wrote {page.name}")
    if missing := GENERATORS.keys() - seen:
        print(f"no page has {', '.join(sorted(missing))}")
        return 1
    if wrong and is_check:
        print("run tools/gen_reference.py")
    return int(wrong > 0 and is_check)


if __name__ == "__main__":
    sys.exit(main())
