"""Options of the whole suite, running gateways, and tools that may be missing."""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Generator, Iterator

import hypothesis
import pytest

from homes import Home
from oncegate.testing.servers.ceph import CephServer
from oncegate.testing.servers.object_stores import ACCESS_KEY_ID, SECRET, MinistackServer, MotoServer, S3Server
from oncegate.testing.servers.process import ProgramMissing
from wrong_s3 import WrongS3

VECTORS = pathlib.Path(__file__).parent / "vectors" / "vectors.json"
PARTS = pathlib.Path(__file__).parents[1] / ".parts"
"""Where environments of emulators are made, once for all."""

# How long an example takes says nothing of the rule that it tries, on a machine that does other work too.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let another file of vectors be run: keys are named relative to it."""
    parser.addoption("--vectors", default=str(VECTORS), help="a file of vectors of the same form")
    parser.addoption("--nightly", action="store_true", help="run the long form of tests that have one")
    parser.addoption(
        "--emulators", action="store_true", help="run the tests against ministack, moto and Ceph, as CI does"
    )
    parser.addoption("--servers", action="store_true", help="run the tests of proxies, poolers and old servers as well")
    parser.addoption("--slow", action="store_true", help="run the tests that take long as well, as CI does")


EMULATED = (
    *("test_obstore_s3.py", "test_s3.py", "test_dynamodb.py", "test_object_store_gateway.py"),
    *("test_edge_emulated.py", "test_compose.py", "test_django_storages.py"),
    *(
        "test_doctor_aws.py",
        "test_articles.py",
        "test_checks.py",
        "test_deploy_killed.py",
        "test_deployer.py",
        "test_deployed.py",
        "test_deployed_api.py",
        "test_deployed_jwt.py",
        "test_deployed_homes.py",
        "test_dev_table.py",
        "test_keys_of_services.py",
    ),
)
"""Two minutes on emulators in environments of their own, and on Ceph: in CI, or when asked for."""
FRONTED = (
    *("test_behind_proxies.py", "test_proxy_sends.py", "test_limits_in_front.py", "test_smuggling.py"),
    *("test_postgresql_elsewhere.py", "test_redis_elsewhere.py"),
)
"""Two minutes on servers of system packages: in CI, or when asked for."""
OUTAGES = (
    *("test_outages.py", "test_postgresql_faults.py", "test_redis_faults.py", "test_postgresql_versions.py"),
    *("test_homes.py", "test_dev_failures.py"),
    *("test_many_gateways.py", "test_kills.py", "test_programs_people_have.py", "test_clients.py", "test_memory.py"),
)
"""Minutes of servers that are killed, frozen and waited for, and of other people's programs."""
LEFT_OUT = {
    "--slow": (OUTAGES, "takes long: pytest --slow, or .ci/run"),
    "--emulators": (EMULATED, "needs a server that speaks S3 or DynamoDB: pytest --emulators, or .ci/run"),
    "--servers": (FRONTED, "needs servers of system packages: pytest --servers, or .ci/run"),
}
LONGEST = "test_gallery.py"
"""Minutes of pictures by one browser."""


def pytest_configure() -> None:
    """Heed the signals that end programs: under ``nohup``, or behind ``&``, they are ignored, in children too."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long or runs on servers from elsewhere, unless it is asked for or its file is named.

    The one test that takes minutes begins first, or all workers but one would wait for it at the end.
    """
    items.sort(key=lambda item: item.path.name != LONGEST)
    if os.environ.get("REQUIRE_ALL_TOOLS") == "1":
        return
    named = tuple(arg.partition("::")[0] for arg in config.args if arg.partition("::")[0].endswith(".py"))
    for item in items:
        if str(item.path).endswith(named):
            continue
        for option, (files, reason) in LEFT_OUT.items():
            if item.path.name in files and not config.getoption(option):
                item.add_marker(pytest.mark.skip(reason=reason))
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason=LEFT_OUT["--slow"][1]))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Generator[None, object, object]:
    """Skip the tests of a server that is not installed; where REQUIRE_ALL_TOOLS is 1 that is a failure."""
    try:
        return (yield)
    except ProgramMissing as missing:
        if os.environ.get("REQUIRE_ALL_TOOLS") == "1":
            raise
        pytest.skip(str(missing))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """The same for tests that start the server themselves."""
    return (yield from pytest_fixture_setup())


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests that are coroutines (``@pytest.mark.anyio``) run on asyncio alone, as the gateway does."""
    return "asyncio"


@pytest.fixture(scope="session")
def is_nightly(pytestconfig: pytest.Config) -> bool:
    """Whether the long forms are to run."""
    return bool(pytestconfig.getoption("--nightly"))


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """Find a program, else skip with that reason; where REQUIRE_ALL_TOOLS is 1 a missing one is a failure."""

    def require(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            if os.environ.get("REQUIRE_ALL_TOOLS") == "1":
                pytest.fail(f"{name} is not installed, and REQUIRE_ALL_TOOLS says that every tool is")
            pytest.skip(f"{name} is not installed")
        return found

    return require


def _made(make: Callable[[], S3Server]) -> S3Server:
    """Make a server; where it cannot be had, skip with the reason, or fail where REQUIRE_ALL_TOOLS says so."""
    try:
        return make()
    except RuntimeError as error:
        if os.environ.get("REQUIRE_ALL_TOOLS") == "1":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A ministack for the tests of one module: S3 and DynamoDB."""
    with _made(lambda: MinistackServer(tmp_path_factory.mktemp("ministack"), parts=PARTS)) as server:
        yield server


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A moto server for the tests of one module: S3 and DynamoDB."""
    with _made(lambda: MotoServer(tmp_path_factory.mktemp("moto"), parts=PARTS)) as server:
        yield server


@pytest.fixture(scope="module")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A Ceph for the tests of one module: S3, with signatures that are checked."""
    with _made(lambda: CephServer(tmp_path_factory.mktemp("ceph"))) as server:
        yield server


@pytest.fixture(scope="module")
def aws_environment() -> Iterator[None]:
    """The servers' credentials in the environment, where ledgers look for them; processes of a test inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        yield


@pytest.fixture
def wrong_s3() -> Iterator[Callable[..., object]]:
    """Start a wrong S3 server: ``wrong_s3("whole-to-range")``."""
    with contextlib.ExitStack() as stack:
        yield lambda *faults: stack.enter_context(WrongS3(*faults))


@pytest.fixture(scope="module")
def wrong_s3_for_module() -> Iterator[Callable[..., object]]:
    """The same, for servers that a module's tests share."""
    with contextlib.ExitStack() as stack:
        yield lambda *faults: stack.enter_context(WrongS3(*faults))


@pytest.fixture(scope="session")
def packaged_postgresql() -> str:
    """The oldest version of PostgreSQL that a package of the system installed; it has TLS, as the wheel's have not."""
    found = [
        path.name for path in pathlib.Path("/usr/lib/postgresql").glob("*") if (path / "bin" / "postgres").exists()
    ]
    if not found:
        if os.environ.get("REQUIRE_ALL_TOOLS") == "1":
            pytest.fail("no package postgresql-NN is installed, and REQUIRE_ALL_TOOLS says that every tool is")
        pytest.skip("no package postgresql-NN is installed")
    return min(found, key=int)


PATIENCE_S = 120.0
"""How long a condition is waited for: on a busy machine things take long, and a wait that ends well ends early."""


@pytest.fixture(scope="session")
def until() -> Callable[..., object]:
    """Wait for what a function returns to be true, look often, and fail after a long while."""

    def wait(is_so: Callable[[], object], what: str, *, within_s: float = PATIENCE_S) -> object:
        deadline = time.monotonic() + within_s
        while True:
            found = is_so()
            if found:
                return found
            if time.monotonic() > deadline:
                pytest.fail(f"not within {within_s:.0f} s: {what}")
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def within() -> Callable[[float], contextlib.AbstractContextManager[None]]:
    """Hold that a block takes less than so many seconds, or than so many times as long as this machine is slow now.

    A promise of seconds is one of a gateway that is given the processor; beside other work everything takes longer.
    """

    @contextlib.contextmanager
    def hold(limit_s: float) -> Generator[None]:
        began = time.monotonic()
        yield
        took_s = time.monotonic() - began
        assert took_s < limit_s or took_s < limit_s * _slowness(), f"{took_s:.2f} s instead of {limit_s} s"

    return hold


def _slowness() -> float:
    """How many seconds of the clock a second of computing takes now: 1 where nobody else computes."""
    began, computed = time.monotonic(), time.thread_time()
    while time.thread_time() - computed < 0.2:
        pass
    return (time.monotonic() - began) / (time.thread_time() - computed)


@pytest.fixture
def home_with(tmp_path: pathlib.Path) -> Callable[..., Home]:
    """Make an installation of this test's own, which it starts and stops itself; arguments are tables."""

    def make(*, key: str = "ecdsa", credentials: dict[str, str] | None = None, **tables: dict[str, object]) -> Home:
        folder = tmp_path / secrets.token_hex(4)
        folder.mkdir()
        return Home(folder, key=key, tables=tables, credentials=credentials)  # type: ignore[arg-type]  # test tables

    return make


@pytest.fixture(scope="module")
def gateway_with(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Home]]:
    """A running gateway per configuration, started when first asked for, and shared by a module's tests.

    ``gateway_with(links={"resume_by": "never"})`` is a ``Home`` whose ``serving`` is the process.
    """
    running: dict[str, Home] = {}
    with contextlib.ExitStack() as stack:

        def get(*, key: str = "ecdsa", credentials: dict[str, str] | None = None, **tables: dict[str, object]) -> Home:
            name = json.dumps([key, credentials, tables], sort_keys=True)
            if name not in running:
                home = Home(tmp_path_factory.mktemp("gateway"), key=key, tables=tables, credentials=credentials)  # type: ignore[arg-type]
                home.serving = stack.enter_context(home.serve())
                running[name] = home
            return running[name]

        yield get


@pytest.fixture(scope="module")
def gateway(gateway_with: Callable[..., Home]) -> Home:
    """The gateway of the usual configuration."""
    return gateway_with()
