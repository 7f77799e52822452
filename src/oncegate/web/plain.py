"""The pages that need nothing but a link: the button, the drop zone, and what went wrong.

Each is one HTML document and loads nothing; the drop zone's script is named by a nonce in its policy. Every text of a
link is escaped here. Shipped to the edge: the standard library alone, at most 6 KB of source.
"""

from __future__ import annotations

import html
import os
from dataclasses import dataclass

_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{margin:0;min-height:100vh;display:grid;place-items:center}
main{box-sizing:border-box;width:min(30rem,100%);padding:2rem;overflow-wrap:anywhere}
h1{font-size:1.25rem;margin:0}p{margin:.25rem 0 1rem}
button,.zone{font:inherit;display:block;box-sizing:border-box;width:100%;padding:.9rem 1rem;border-radius:.5rem;
text-align:center}
button{border:0;background:#1a5fb4;color:#fff}button:focus-visible,.zone:focus-within{outline:3px solid #99c1f1}
.zone{border:2px dashed;padding:2.5rem 1rem}
.zone.over{background:#1a5fb422}
input[type=file]{position:absolute;opacity:0;width:1px;height:1px}progress{width:100%}
"""

_HEAD = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
)

# Nothing of the link is put into the page.
_SCRIPT = """
const $=s=>document.querySelector(s),zone=$('.zone'),pick=$('#file'),bar=$('progress'),say=$('#say'),over=zone.classList;
function send(file){if(!file)return;bar.hidden=false;zone.hidden=true;say.textContent='Sending '+file.name;
const x=new XMLHttpRequest();x.open('PUT',location.href);x.upload.onprogress=e=>{if(e.lengthComputable)bar.value=e.loaded/e.total};
x.onload=()=>{if(x.status==200){say.textContent='Done. '+file.name+' has arrived. This link is used up.';return}
const m=/<Message>([^<]*)/.exec(x.responseText);say.textContent='Refused: '+(m?m[1]:x.status);
bar.hidden=true;zone.hidden=[403,412].includes(x.status)};
x.onerror=()=>{say.textContent='The connection broke. Nothing was stored; you can try again.';bar.hidden=true;zone.hidden=false};
x.setRequestHeader('Accept','application/xml');
x.setRequestHeader('Content-Type',file.type||'application/octet-stream');x.send(file)}
pick.onchange=()=>send(pick.files[0]);
zone.ondragover=e=>{e.preventDefault();over.add('over')};zone.ondragleave=()=>over.remove('over');
zone.ondrop=e=>{e.preventDefault();send(e.dataTransfer.files[0])};
"""


@dataclass(frozen=True, slots=True)
class Page:
    """A page and the Content-Security-Policy that fits it."""

    body: bytes
    policy: str


def confirm_page(*, name: str, size_bytes: int | None, uses_left: int, needs_cookies: bool, said: str = "") -> Page:
    """The page with the button.

    Args:
        name: of the file, as it will be saved.
        size_bytes: of the file; None where nobody looked.
        uses_left: how often the link can still be used.
        needs_cookies: the button was pressed, and its cookie did not come back.
        said: HTML of ``said_by``.
    """
    size = "" if size_bytes is None else f"<p>{readable_size(size_bytes)}</p>"
    times = "once" if uses_left == 1 else f"{uses_left} times"
    asks = "<p><strong>Your browser must accept a cookie for the download.</strong></p>"
    body = (
        f"<h1>{html.escape(name)}</h1>{said}{size}{asks if needs_cookies else ''}"
        '<form method="post" action=""><button>Download</button></form>'
        f"<p><small>This link can be used {times}. Looking at this page does not use it.</small></p>"
    )
    return page(name, body)


def upload_page(*, name: str, max_bytes: int | None, media_type: str | None, said: str = "") -> Page:
    """The page with the drop zone."""
    limits = [f"at most {readable_size(max_bytes)}"] if max_bytes is not None else []
    limits += [media_type] if media_type else []
    said += f"<p>{html.escape(', '.join(limits))}</p>" if limits else ""
    accept = f' accept="{html.escape(media_type)}"' if media_type else ""
    body = (
        f"<h1>Upload to {html.escape(name)}</h1>{said}"
        f'<label class="zone">Choose a file, or drop it here<input id="file" type="file"{accept}></label>'
        '<progress hidden value="0" max="1"></progress><p id="say" role="status"></p>'
        "<noscript><p>Without scripts, use a program: <code>curl -T FILE 'URL'</code></p></noscript>"
        "<p><small>This link takes one file. Looking at this page does not use it.</small></p>"
    )
    return page("Upload", body, script=_SCRIPT)


def said_by(sender: str | None, note: str | None) -> str:
    """What a link's sender says, as HTML."""
    said = f"<p>From <bdi>{html.escape(sender)}</bdi></p>" if sender else ""
    return said + (f'<p dir="auto">{html.escape(note)}</p>' if note else "")


def message_page(*, title: str, words: str) -> Page:
    """The page that says what is the matter."""
    return page(title, f"<h1>{html.escape(title)}</h1><p>{html.escape(words)}</p>")


def readable_size(size_bytes: int) -> str:
    """Write a size for people: 1.4 MB."""
    size = float(size_bytes)
    units = ["byte" if size_bytes == 1 else "bytes", "kB", "MB", "GB", "TB"]
    while size >= 999.95 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.1f}".removesuffix(".0") + f" {units[0]}"


def page(title: str, body: str, *, script: str = "", more_policy: str = "") -> Page:
    """Make a page of a body that is HTML already, with the policy that fits it."""
    nonce = os.urandom(12).hex() if script else ""
    # in a frame another site could lay its button over ours
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        + (f"; script-src 'nonce-{nonce}'; connect-src 'self'" if script else "")
        + more_policy
    )
    element = f'<script nonce="{nonce}">{script}</script>' if script else ""
    text = (
        f"{_HEAD}<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main>{element}</body></html>\n"
    )
    return Page(text.encode("utf-8", "replace"), policy)
