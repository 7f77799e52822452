"""Bring the catalogues of the pages up to date: each text that the code says is in each, and no other.

tools/gen_catalogues.py            write src/oncegate/web/locale/*.po; new texts are empty, to be translated
tools/gen_catalogues.py --check    say what is missing, exit status 1
"""

from __future__ import annotations

import io
import pathlib
import sys
from collections.abc import Iterator

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from oncegate.web.languages import DEFAULT, LANGUAGES

WEB = pathlib.Path(__file__).parents[1] / "src" / "oncegate" / "web"
METHODS = [("templates/**.html", "jinja2"), ("**.py", "python")]
KEYWORDS = {"_": None, "mark": None, "say": None, "count": (1, 2), "plurals": (1, 2)}
LEFT_OUT = (b"-Date:", b"Generated-By", b"Report-Msgid-Bugs-To", b"Last-Translator", b"Language-Team")
HEAD = "# What the pages of oncegate say. tools/gen_catalogues.py keeps it complete."


def texts() -> Iterator[str | tuple[str, ...]]:
    """Every text of the pages, those that depend on a number as pairs."""
    seen: set[str | tuple[str, ...]] = set()
    for _, _, text, _, _ in extract_from_dir(str(WEB), METHODS, keywords=KEYWORDS):  # type: ignore[arg-type]  # stubs
        if text and text not in seen:
            seen.add(text)
            yield text


def catalogue(code: str) -> bytes:
    """One catalogue as it should be."""
    path = WEB / "locale" / f"{code}.po"
    have = read_po(io.BytesIO(path.read_bytes()), locale=code) if path.exists() else Catalog(locale=code)
    made = Catalog(locale=code, header_comment=HEAD, fuzzy=False, project="oncegate", version="1")
    for text in sorted(texts(), key=str):
        message = have.get(text if isinstance(text, str) else text[0])
        new = "" if isinstance(text, str) else ("",) * made.num_plurals
        # a text that came to depend on a number has to be translated anew
        made.add(text, message.string if message and isinstance(message.id, str) == isinstance(text, str) else new)
    out = io.BytesIO()
    write_po(out, made, width=0, omit_header=False)
    lines = out.getvalue().split(b"\n")
    # dates would differ at every run, and nobody answers at the made-up addresses
    return b"\n".join(line for line in lines if not any(word in line for word in LEFT_OUT))


def main() -> int:
    """Write, or compare."""
    wrong: list[str] = []
    for code in LANGUAGES:
        if code == DEFAULT:
            continue
        path, made = WEB / "locale" / f"{code}.po", catalogue(code)
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(made)
        elif path.read_bytes() != made:
            wrong.append(f"{path.name}: run tools/gen_catalogues.py")
        for message in read_po(io.BytesIO(made), locale=code):
            strings = message.string if isinstance(message.string, tuple) else (message.string,)
            if message.id and not all(strings):
                wrong.append(f"{code}: not translated: {message.id}")
    print("\n".join(wrong) or "complete")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
