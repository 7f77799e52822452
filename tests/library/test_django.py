"""``oncegate.contrib.django``: files of a model field, each ``url()`` a link of its own, opened through a gateway."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from oncegate.testing.installation import Installation

SITE = """
import sys
import django
from django.conf import settings

settings.configure(
    STORAGES={"default": {"BACKEND": "oncegate.contrib.django.OnceStorage", "OPTIONS": %(options)s}},
)
django.setup()
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage as storage

%(then)s
"""


def site(made: Installation, then: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a few lines in a site of Django with this storage."""
    given = {"config": str(made.folder / "oncegate.toml"), **options}
    script = SITE % {"options": repr(given), "then": then}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def made(tmp_path: Path) -> Installation:
    """An installation whose store is a folder."""
    return Installation(tmp_path)


def test_each_url_is_a_link_of_its_own_that_opens_once(made: Installation) -> None:
    """Two pages that show one file in the same second must not take the use from each other."""
    then = "name = storage.save('a b.txt', ContentFile(b'hello'))\nprint(storage.url(name))\nprint(storage.url(name))"
    done = site(made, then)
    first, second = done.stdout.split()
    assert first != second, done.stderr
    with made.serve():
        for url in (first, second):
            with urllib.request.urlopen(url) as answer:
                assert answer.read() == b"hello"
                assert 'filename="a b.txt"' in answer.headers["Content-Disposition"]
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(url)


def test_a_folder_beneath_the_store_keeps_its_path_in_the_key(made: Installation) -> None:
    """A site's media folder is often one of several in the store."""
    location = str(made.objects / "media")
    done = site(made, "print(storage.url(storage.save('x/a.txt', ContentFile(b'hi'))))", location=location)
    assert "/media/x/a.txt?once=g." in done.stdout, done.stderr
    assert (made.objects / "media" / "x" / "a.txt").read_bytes() == b"hi"


def test_a_folder_elsewhere_is_refused_at_the_start(made: Installation, tmp_path: Path) -> None:
    """Its files would be saved, and no link would ever open one."""
    done = site(made, "storage.url('a')", location=str(tmp_path / "elsewhere"))
    assert "ImproperlyConfigured" in done.stderr
    assert "is not beneath" in done.stderr


def test_a_storage_of_a_bucket_signs_with_the_mixin(made: Installation) -> None:
    """``OnceUrls`` goes before any storage; here one that keeps files in memory stands for the bucket."""
    then = (
        "from django.core.files.storage import InMemoryStorage\n"
        "from oncegate.contrib.django import OnceUrls\n"
        "class Once(OnceUrls, InMemoryStorage): pass\n"
        f"storage = Once(config={str(made.folder / 'oncegate.toml')!r}, expires_in=60)\n"
        "print(storage.url(storage.save('b.txt', ContentFile(b'x'))))\n"
        "print(storage.deconstruct()[0])"
    )
    done = site(made, then)
    assert "/b.txt?once=g." in done.stdout, done.stderr


def test_a_field_without_a_file_has_no_url(made: Installation) -> None:
    """Templates ask for the URL of an empty field; Django expects a ValueError."""
    assert "ValueError: this field holds no file" in site(made, "storage.url('')").stderr
