"""Bearer tokens: drawn, kept as hashes, checked, revoked, by several processes."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from oncegate.control.tokens import (
    FILE_BYTES_MAX,
    SCOPES,
    TOKENS_MAX,
    Token,
    TokenFile,
    TokensUnfit,
    read_operator_token,
    write_operator_token,
)

NOW_S = 1_800_000_000


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    """Give a file of tokens that does not exist yet."""
    return TokenFile(tmp_path / "tokens.json")


def test_a_token_is_known_again(tokens: TokenFile) -> None:
    """By this object, and by another process that reads the file."""
    text, token = tokens.new("ci", ["links:read", "links:read", "links:write"], now_s=NOW_S, expires_s=NOW_S + 60)
    assert text.startswith(f"og_{token.id}_")
    assert len(text) == 55
    assert tokens.check(text, NOW_S) == TokenFile(tokens.path).check(text, NOW_S) == token
    assert token == Token(
        id=token.id, name="ci", scopes=("links:read", "links:write"), made_s=NOW_S, expires_s=NOW_S + 60
    )


def test_the_file_holds_no_token(tokens: TokenFile) -> None:
    """Who reads a backup of it must not get in; nor who reads a log of these objects."""
    text, token = tokens.new("ci", ["*"], now_s=NOW_S)
    content = tokens.path.read_text()
    secret = text.split("_", 2)[2]
    assert secret not in content + repr(token) + repr(tokens)
    assert hashlib.sha256(text.encode()).hexdigest() in content
    assert tokens.path.stat().st_mode & 0o777 == 0o600


def test_what_is_not_exactly_the_token_is_refused(tokens: TokenFile) -> None:
    """Another secret, another id, more, less, another alphabet: strangers send anything."""
    text, token = tokens.new("ci", ["*"], now_s=NOW_S)
    other, _ = tokens.new("other", ["*"], now_s=NOW_S)
    swapped = f"og_{token.id}_{other.split('_', 2)[2]}"
    last = "A" if text[-1] != "A" else "B"
    for wrong in (
        "",
        "og_",
        text[:-1],
        text + "x",
        text + "\n",
        text[:-1] + last,
        swapped,
        text.upper(),
        "\udcff" * 55,
    ):
        assert tokens.check(wrong, NOW_S) is None
    assert tokens.check(text, NOW_S) == token


def test_a_token_ends_at_its_second(tokens: TokenFile) -> None:
    """Both sides of the boundary; one without an end has none."""
    text, token = tokens.new("short", ["*"], now_s=NOW_S, expires_s=NOW_S + 60)
    endless, _ = tokens.new("endless", ["*"], now_s=NOW_S)
    assert tokens.check(text, NOW_S + 59) == token
    assert tokens.check(text, NOW_S + 60) is None
    assert tokens.check(endless, 2**62) is not None


def test_a_revoked_token_is_refused_by_every_process_at_once(tokens: TokenFile) -> None:
    """The gateway keeps its own object open while the command line revokes."""
    text, token = tokens.new("ci", ["*"], now_s=NOW_S)
    gateway = TokenFile(tokens.path)
    assert gateway.check(text, NOW_S) == token
    assert tokens.revoke(token.id)
    assert gateway.check(text, NOW_S) is None
    assert not tokens.revoke(token.id)
    assert not tokens.revoke("no such id")


def test_a_token_that_is_made_elsewhere_is_known(tokens: TokenFile) -> None:
    """No restart after ``oncegate tokens new``, also where there was no file at start."""
    text, token = TokenFile(tokens.path).new("ci", ["*"], now_s=NOW_S)
    assert tokens.check(text, NOW_S) == token
    tokens.path.unlink()
    assert tokens.check(text, NOW_S) is None


def test_tokens_are_listed_oldest_first(tokens: TokenFile) -> None:
    """Expired ones too, so that they can be revoked."""
    names = ["b", "a", "c"]
    for age, name in enumerate(names):
        tokens.new(name, ["*"], now_s=NOW_S + age, expires_s=NOW_S + 10)
    assert [token.name for token in TokenFile(tokens.path).list_tokens()] == names


def test_a_scope_is_that_scope_and_the_star_is_all(tokens: TokenFile) -> None:
    """A token for reading must not write."""
    _, reader = tokens.new("reader", ["links:read"], now_s=NOW_S)
    _, owner = tokens.new("owner", ["*"], now_s=NOW_S)
    assert [scope for scope in SCOPES if reader.allows(scope)] == ["links:read"]
    assert all(owner.allows(scope) for scope in SCOPES)


@pytest.mark.parametrize(
    ("name", "scopes", "expires_s", "message"),
    [
        ("", ["*"], None, "a token's name has 1 to 100 characters on one line"),
        ("x" * 101, ["*"], None, "a token's name has 1 to 100 characters on one line"),
        ("a\nb", ["*"], None, "a token's name has 1 to 100 characters on one line"),
        ("a", [], None, "a token's scopes are of links:read, links:write, objects:read"),
        ("a", ["admin"], None, "a token's scopes are of links:read, links:write, objects:read"),
        ("a", ["*"], NOW_S, "the token would have expired already"),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(
    tokens: TokenFile, name: str, scopes: list[str], expires_s: int | None, message: str
) -> None:
    """The message is for whoever typed it."""
    with pytest.raises(TokensUnfit, match=message):
        tokens.new(name, scopes, now_s=NOW_S, expires_s=expires_s)
    assert not tokens.path.exists()


def test_the_number_of_tokens_is_limited(tokens: TokenFile) -> None:
    """A script in a loop must not grow the file without end; the largest file that is written can be read."""
    row = {"name": "\U0001f600" * 100, "scopes": list(SCOPES), "made_s": NOW_S, "expires_s": NOW_S, "sha256": "00" * 32}
    rows = [{"id": f"{number:08x}", **row} for number in range(TOKENS_MAX - 1)]
    tokens.path.write_text(json.dumps({"version": 1, "tokens": rows}))
    text, _ = tokens.new("last", ["*"], now_s=NOW_S)
    assert tokens.path.stat().st_size < FILE_BYTES_MAX
    with pytest.raises(TokensUnfit, match="at most 1000 tokens: revoke some first"):
        tokens.new("one more", ["*"], now_s=NOW_S)
    assert TokenFile(tokens.path).check(text, NOW_S) is not None


GOOD_ROW = {"id": "00000000", "name": "a", "scopes": ["*"], "made_s": 1, "expires_s": None, "sha256": "00"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "nul",
        "[" * 100_000,
        '{"version": 1}',
        '{"version": 1, "tokens": 1}',
        '{"version": 1, "tokens": [1]}',
        *(json.dumps({"version": 1, "tokens": [{**GOOD_ROW, key: {}}]}) for key in GOOD_ROW),
        json.dumps({"version": 1, "tokens": [{**GOOD_ROW, "scopes": ["root"]}]}),
        json.dumps({"version": 1, "tokens": [{**GOOD_ROW, "sha256": "zz"}]}),
    ],
)
def test_a_broken_file_lets_nobody_in_and_is_not_overwritten(tokens: TokenFile, content: str) -> None:
    """An empty list instead would lock everybody out for good at the next write."""
    text, _ = tokens.new("ci", ["*"], now_s=NOW_S)
    tokens.path.write_text(content)
    for attempt in (
        lambda: TokenFile(tokens.path),
        lambda: tokens.check(text, NOW_S),
        tokens.list_tokens,
        lambda: tokens.revoke("00000000"),
        lambda: tokens.new("b", ["*"], now_s=NOW_S),
    ):
        with pytest.raises(TokensUnfit, match=r"tokens.json: not a file of tokens: restore it, or move it away"):
            attempt()
    assert tokens.path.read_text() == content


def test_a_file_of_another_version_is_left_alone(tokens: TokenFile) -> None:
    """A newer oncegate may keep more in it."""
    tokens.path.write_text('{"version": 2, "tokens": []}')
    with pytest.raises(TokensUnfit, match="of another version of oncegate"):
        tokens.new("a", ["*"], now_s=NOW_S)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    """The message says which file, and no traceback."""
    with pytest.raises(TokensUnfit, match=r"none/tokens.json: cannot be written: No such file or directory"):
        TokenFile(tmp_path / "none" / "tokens.json").new("a", ["*"], now_s=NOW_S)
    with pytest.raises(TokensUnfit, match="cannot be read: Is a directory"):
        TokenFile(tmp_path)


def test_no_token_is_lost_when_many_processes_write(tokens: TokenFile) -> None:
    """Each reads, adds and replaces: without the lock the last one would win."""
    code = (
        "import sys, pathlib; from oncegate.control.tokens import TokenFile\n"
        "tokens = TokenFile(pathlib.Path(sys.argv[1])); sys.stdin.read()\n"
        "for number in range(10): print(tokens.new(f'{sys.argv[2]}-{number}', ['*'], now_s=1)[0])\n"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tokens.path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    texts = [text for writer in writers for text in start_and_read(writer)]
    assert len(set(texts)) == 60
    assert all(tokens.check(text, NOW_S) for text in texts)
    assert len(tokens.list_tokens()) == 60
    assert sorted(path.name for path in tokens.path.parent.iterdir()) == [".tokens.json.lock", "tokens.json"]


def start_and_read(writer: subprocess.Popen[str]) -> list[str]:
    """Let a writer go and return the tokens that it made."""
    output, _ = writer.communicate()
    assert writer.returncode == 0
    return output.split()


def test_the_operators_token_is_in_a_file_of_its_own(tokens: TokenFile, tmp_path: Path) -> None:
    """The command line on this machine needs no set-up; nobody else reads the file."""
    path = tmp_path / "control.token"
    token = write_operator_token(path, tokens, now_s=NOW_S)
    assert path.stat().st_mode & 0o777 == 0o600
    assert tokens.check(read_operator_token(path), NOW_S) == token
    assert (token.name, token.scopes) == ("operator", ("*",))


def test_an_operators_token_is_not_written_over_another(tokens: TokenFile, tmp_path: Path) -> None:
    """And where it cannot be written, none stays behind that nobody knows."""
    path = tmp_path / "control.token"
    write_operator_token(path, tokens, now_s=NOW_S)
    before = path.read_text()
    with pytest.raises(TokensUnfit, match=r"control.token: stands already"):
        write_operator_token(path, tokens, now_s=NOW_S)
    with pytest.raises(TokensUnfit, match="cannot be written: No such file or directory"):
        write_operator_token(tmp_path / "none" / "control.token", tokens, now_s=NOW_S)
    assert path.read_text() == before
    assert len(tokens.list_tokens()) == 1


def test_a_file_without_a_token_is_named_and_not_shown(tmp_path: Path) -> None:
    """What is in it may be a token with a typing mistake."""
    path = tmp_path / "control.token"
    with pytest.raises(TokensUnfit, match=r"control.token: cannot be read: No such file.*'oncegate init' writes it"):
        read_operator_token(path)
    path.write_bytes(b"og_secret\xff")
    with pytest.raises(TokensUnfit, match=r"control.token: holds no token: 'oncegate tokens new' makes one") as caught:
        read_operator_token(path)
    assert "secret" not in str(caught.value)
