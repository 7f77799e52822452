"""``OnceUrls`` before the S3 storage of django-storages: a file goes into the bucket, and its link opens once."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from oncegate.testing.installation import Installation
from oncegate.testing.servers.object_stores import ACCESS_KEY_ID, SECRET, MinistackServer

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "cookbook.md"
SITE = """
import django
from django.conf import settings

settings.configure(STORAGES={"default": {"BACKEND": "storages_once.OnceBucket", "OPTIONS": %r}})
django.setup()
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage as storage

name = storage.save("reports/a b.txt", ContentFile(b"figures"))
print(storage.open(name).read().decode())
print(storage.url(name))
"""


@pytest.mark.slow
def test_a_file_of_the_bucket_opens_once_through_its_url(tmp_path: pathlib.Path) -> None:
    """The storage's name of a file must be the key that the gateway looks for, and its own presigned URLs must be gone."""
    (code,) = re.findall(r"<!-- file: storages_once.py -->\n```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (tmp_path / "storages_once.py").write_text(code)
    with MinistackServer(tmp_path, parts=ROOT / ".parts") as store:
        bucket = store.make_bucket("reports-bucket")
        tables = {"store": {"url": f"s3://{bucket}"}}
        made = Installation(tmp_path, tables=tables)
        config = made.folder / "oncegate.toml"
        with config.open("a") as file:
            file.write("\n[store.options]\n" + "".join(f'{k} = "{v}"\n' for k, v in store.store_options.items()))
        options = {
            "config": str(config), "bucket_name": bucket, "endpoint_url": store.url, "region_name": "us-east-1",
            "access_key": ACCESS_KEY_ID, "secret_key": SECRET,
        }  # fmt: skip
        site = subprocess.run(
            [sys.executable, "-c", SITE % options],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert site.returncode == 0, site.stderr
        content, url = site.stdout.splitlines()
        assert content == "figures"
        with made.serve():
            with urllib.request.urlopen(url) as answer:
                assert answer.read() == b"figures"
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(url)
