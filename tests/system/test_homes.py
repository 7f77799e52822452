"""Several homes behind one configuration: a ticket says whose ledger counts its link, and nobody else's is asked."""

from __future__ import annotations

import contextlib
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from homes import Home, link_id_of
from oncegate.ledgers.opening import create_ledger
from oncegate.library.tickets import draw_ticket
from oncegate.links.cloudfront import sign_url
from oncegate.links.grant import Operation
from oncegate.links.link_id import text_of_id
from oncegate.testing.installation import free_port

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """An installation called a, which knows the homes b, and c, where nobody answers."""
    folder = tmp_path_factory.mktemp("homes")
    nobody = f"redis://127.0.0.1:{free_port()}"
    tables: Any = {"links": {"home": "a"}, "ledger.homes": {"b": "sqlite:./b.db", "c": nobody}}
    made = Home(folder, tables=tables)
    create_ledger("sqlite:./b.db", folder=folder)
    for path in (
        made.write_config("a-is-down.toml", ledger={"url": nobody}),
        made.write_config("two.toml", port=free_port()),
    ):
        path.write_text(path.read_text().replace(f'"c" = "{nobody}"\n', ""))
    made.lay(b"the object", "a.txt")
    return made


@pytest.fixture(scope="module")
def gateway(installation: Home) -> Iterator[str]:
    """The URL of its gateway."""
    with installation.serve() as serving:
        yield serving.viewer_url


@pytest.fixture(scope="module")
def control(installation: Home) -> Iterator[httpx.Client]:
    """The control API of a gateway that knows a and b."""
    config = installation.folder / "two.toml"
    token = run(installation, "tokens", "new", "test", config="two.toml").strip()
    with contextlib.ExitStack() as stack:
        serving = stack.enter_context(installation.serve(config))
        yield stack.enter_context(
            httpx.Client(base_url=serving.control_url, headers={"Authorization": f"Bearer {token}"})
        )


def run(installation: Home, *arguments: str, config: str = "oncegate.toml", status: int = 0) -> str:
    """Run a command; return what it wrote to stdout, or to stderr where that is empty."""
    done = installation.run("--config", str(installation.folder / config), *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout or done.stderr


def link(installation: Home, home: str) -> str:
    """A fresh link of a home."""
    return run(installation, "link", "a.txt", "--home", home).strip()


def id_of(url: str) -> str:
    """The id of a link, as commands take it."""
    return text_of_id(link_id_of(url))


def get(gateway: str, url: str) -> httpx.Response:
    """Open a link at a gateway."""
    return httpx.get(gateway + "/" + url.split("/", 3)[3], timeout=60)


def test_a_link_names_the_home_that_was_asked_for(installation: Home) -> None:
    """A misspelt home would make a link that no gateway takes."""
    assert ".b&" in link(installation, "b")
    assert ".a&" in run(installation, "link", "a.txt")
    assert "no home 'd'" in run(installation, "link", "a.txt", "--home", "d", status=2)


def test_a_gateway_counts_a_link_where_its_ticket_says(installation: Home, gateway: str) -> None:
    """Counted in its own ledger, it would open once more at each other gateway."""
    url = link(installation, "b")
    assert get(gateway, url).content == b"the object"
    assert get(gateway, url).status_code == 403
    assert "claimed" in run(installation, "status", url)
    assert installation.record(url) is None, "the own ledger knows nothing of it"


def test_a_home_that_is_down_takes_nobody_with_it(installation: Home, gateway: str) -> None:
    """Its links are refused with 503 in time; those of the others open, and so does the gateway's start."""
    began = time.monotonic()
    answer = get(gateway, link(installation, "c"))
    assert (answer.status_code, answer.headers["retry-after"].isdigit()) == (503, True)
    assert time.monotonic() - began < 6
    assert get(gateway, link(installation, "a")).status_code == 200
    assert get(gateway, link(installation, "b")).status_code == 200


def test_a_home_that_nobody_configured_is_refused(installation: Home, gateway: str) -> None:
    """Taken for the own one, its link would be unused here for ever."""
    ticket = draw_ticket(Operation.GET, home="elsewhere")
    url = sign_url(
        f"{installation.public_url}/a.txt?once={ticket}", key=installation.signer, expires_s=int(time.time()) + 600
    )
    assert get(gateway, url).status_code == 403
    assert "another ledger" in run(installation, "status", url, status=1)


def test_a_link_is_revoked_in_its_home_while_the_own_ledger_is_down(installation: Home, gateway: str) -> None:
    """By its URL alone one ledger is asked, and by its id it is found where its record is."""
    down = "a-is-down.toml"
    url, opened = link(installation, "b"), link(installation, "b")
    assert get(gateway, opened).status_code == 200
    assert "revoked" in run(installation, "revoke", url, config=down)
    assert "revoked" in run(installation, "status", id_of(url), config=down)
    assert get(gateway, url).status_code == 403
    assert "revoked" in run(installation, "revoke", id_of(opened), config=down)
    assert "claimed" in run(installation, "links", config=down, status=1)


def test_an_id_that_no_ledger_knows_is_not_said_to_be_unused_while_one_is_silent(installation: Home) -> None:
    """The silent one may have its record."""
    unknown = id_of(link(installation, "a"))
    said = run(installation, "status", unknown, status=1)
    assert "home c" in said
    assert "no ledger that answers" in said
    assert "never opened" in run(installation, "status", unknown, config="two.toml")


def test_a_link_that_was_never_opened_is_revoked_by_its_id_in_every_home(installation: Home, gateway: str) -> None:
    """Any of them may be its home; where one does not answer, that is said, and the exit status is 1."""
    url = link(installation, "b")
    assert "not revoked where no ledger answered" in installation.run("revoke", id_of(url)).stderr
    assert get(gateway, url).status_code == 403


def test_links_are_listed_from_every_home_in_one_order(installation: Home, gateway: str) -> None:
    """Home by home, the page after an id would leave links out."""
    made = [link(installation, home) for home in ("b", "a", "b", "a")]
    for url in made:
        assert get(gateway, url).status_code == 200
    listed = [each["id"] for each in json.loads(run(installation, "links", "--json", config="two.toml"))]
    assert [each for each in listed if each in {id_of(url) for url in made}] == [id_of(url) for url in made]
    after = json.loads(run(installation, "links", "--json", "--after", id_of(made[1]), config="two.toml"))
    assert [each["id"] for each in after][:2] == [id_of(made[2]), id_of(made[3])]


def test_the_control_api_finds_and_revokes_links_of_every_home(
    installation: Home, gateway: str, control: httpx.Client
) -> None:
    """It is told an id, or a URL to explain; which ledger is asked is not its caller's to know."""
    url = link(installation, "b")
    assert control.get(f"/v1/links/{id_of(url)}").status_code == 404
    assert get(gateway, url).status_code == 200
    assert control.get(f"/v1/links/{id_of(url)}").json()["state"] == "claimed"
    assert id_of(url) in [each["id"] for each in control.get("/v1/links", params={"limit": 1000}).json()["links"]]
    explained = control.post("/v1/explain", json={"url": url}).json()
    assert [step["reason"] for step in explained["steps"] if step["name"] == "ledger"] == ["used"]
    fresh = link(installation, "b")
    assert control.post("/v1/explain", json={"url": fresh}).json()["admitted"] is True
    assert control.delete(f"/v1/links/{id_of(fresh)}").json()["state"] == "revoked"
    assert get(gateway, fresh).status_code == 403


def test_explain_and_doctor_ask_each_home(installation: Home, gateway: str) -> None:
    """As the gateway would decide it, and part by part."""
    url = link(installation, "b")
    assert "would be admitted" in run(installation, "explain", url)
    assert get(gateway, url).status_code == 200
    assert "would be refused" in run(installation, "explain", url, status=1)
    said = run(installation, "doctor", status=1)
    assert "home b: sqlite: is fit" in said
    assert "home c" in said


def test_an_upload_of_another_home_is_stored_once(installation: Home, gateway: str) -> None:
    """Lease and use are its own ledger's too."""
    url = run(installation, "link", "in/x", "--put", "--home", "b").strip()
    target = gateway + "/" + url.split("/", 3)[3]
    assert httpx.put(target, content=b"mine", timeout=60).status_code == 200
    assert httpx.put(target, content=b"other", timeout=60).status_code == 403
    assert pathlib.Path(installation.objects / "in" / "x").read_bytes() == b"mine"
