"""The conformance suite passes the stores that are right, and finds those that are wrong on purpose."""

from __future__ import annotations

import functools
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from oncegate.stores.bucket.abilities import CHUNK_BYTES
from oncegate.stores.directory import staging
from oncegate.stores.directory.store import DirectoryStore
from oncegate.stores.directory.upload import FLUSH_BYTES
from oncegate.stores.opening import open_store
from oncegate.testing.servers.object_stores import store_options
from oncegate.testing.store_suite import CheckFailed, CheckSkipped, StoreSuite

pytestmark = pytest.mark.anyio

FILE_SIZES = (0, 1, 1024, FLUSH_BYTES - 1, FLUSH_BYTES, 2 * FLUSH_BYTES + 1)
BUCKET_SIZES = (10, CHUNK_BYTES, CHUNK_BYTES + 1)
NEEDS_SHARING = {
    "check_of_many_processes_one_upload_stands",
    "check_of_many_processes_one_replacement_stands",
    "check_a_killed_upload_is_never_seen",
    "check_what_was_stored_outlives_its_opening",
}
"""A store in memory has objects of its own in each process."""

NEEDS_REMOVALS = {
    "check_removed_twice_is_removed_once",
    "check_of_a_removal_and_a_replacement_one_happens",
    "check_what_is_removed_is_read_to_its_end_or_not_at_all",
}
"""obstore's own removals take no condition, so neither it nor ``gs:`` and ``az:`` remove anything."""

LARGE_WAYS = {
    "completion": (),
    "copy": ("ignores-completion-conditions",),
    "put": ("ignores-completion-conditions", "ignores-copy-conditions"),
}
"""How a large object is put in place, by the faults of a server that leave only this way."""

ABOUT_UPLOADS = re.compile("upload|announced|replace|commit|version")


@pytest.fixture
def descriptors_are_given_back() -> Iterator[None]:
    """Hold a test to the number of open descriptors that it began with."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    # fewer, where something of an earlier test was only now let go of
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.usefixtures("descriptors_are_given_back")
@pytest.mark.parametrize("name", StoreSuite.CHECKS)
async def test_a_folder_passes(name: str, tmp_path: pathlib.Path) -> None:
    """The default store keeps every promise; nothing is skipped, and no descriptor is left open."""
    await StoreSuite(functools.partial(DirectoryStore, tmp_path), sizes_bytes=FILE_SIZES).run(name)


@pytest.mark.usefixtures("descriptors_are_given_back")
@pytest.mark.parametrize("name", StoreSuite.CHECKS)
async def test_a_folder_without_unnamed_files_passes(
    name: str, tmp_path: pathlib.Path, wrong_stores: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where every staged file has a name, as on NFS."""
    monkeypatch.setattr(staging, "UNNAMED_FLAG", 0)
    await StoreSuite(functools.partial(wrong_stores.open_named, tmp_path), sizes_bytes=FILE_SIZES).run(name)


@pytest.mark.parametrize("name", StoreSuite.CHECKS)
async def test_a_bucket_in_memory_passes(name: str, wrong_stores: ModuleType) -> None:
    """Where obstore does everything, as at ``gs:`` and ``az:``; large objects are not replaced there."""
    suite = StoreSuite(wrong_stores.open_memory, is_shared=False, sizes_bytes=BUCKET_SIZES)
    if name in NEEDS_SHARING | NEEDS_REMOVALS:
        with pytest.raises(CheckSkipped, match=r"objects of its own|removes nothing"):
            await suite.run(name)
    else:
        await suite.run(name)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        pytest.param(name, way, marks=[] if way == "completion" else pytest.mark.slow)
        for way in LARGE_WAYS
        for name in StoreSuite.CHECKS
        if way == "completion" or ABOUT_UPLOADS.search(name)
    ],
)
async def test_a_bucket_of_s3_passes(name: str, way: str, wrong_s3: Callable[..., object]) -> None:
    """With a prefix of its own, and in each way in which a large object is put in place what is about uploads."""
    server = wrong_s3(*LARGE_WAYS[way])
    options = store_options(server.url)  # type: ignore[attr-defined]  # a module that a fixture loads
    opening = functools.partial(open_store, "s3://bucket/pre fix", folder=pathlib.Path(), options=options)
    await StoreSuite(opening, sizes_bytes=BUCKET_SIZES, callers=4, processes=2).run(name)


WRONG = [
    ("LooksThenWrites", "check_of_many_uploads_one_stands", "one must be stored, 8 were"),
    ("LooksThenReplaces", "check_of_many_replacements_one_stands", "one must be stored, 8 were"),
    ("Overwrites", "check_an_upload_never_overwrites", "slower upload stands as well"),
    ("LooksAtTheStart", "check_an_upload_never_overwrites", "slower upload stands as well"),
    ("ReplacesAnything", "check_only_the_named_version_is_replaced", "where another version stood: it was stored"),
    ("TagsByKey", "check_only_the_named_version_is_replaced", "two versions have one ETag"),
    ("ShowsHalf", "check_an_upload_is_seen_when_it_is_committed", "an object is found"),
    ("PlacesAtTheLastByte", "check_an_upload_is_seen_when_it_is_committed", "an object is found"),
    ("PlacesAtTheAbort", "check_an_aborted_upload_leaves_nothing", "an object is found"),
    ("CommitsAfterAnAbort", "check_an_ended_upload_takes_no_more", "committed all the same"),
    ("TakesAnyLength", "check_another_length_than_was_announced_is_refused", "1 bytes were announced"),
    ("LosesTheLastPiece", "check_an_upload_stands_whole", "read otherwise than they came"),
    ("HalvesACancelledCommit", "check_a_commit_that_is_cancelled_is_all_or_nothing", "cancelled while"),
    ("ReadsTheNewest", "check_another_version_is_never_read_for_the_one_seen", "bytes of another version"),
    ("CountsTheEnd", "check_a_read_gives_the_range_in_pieces", "read as others"),
    ("HalfPieces", "check_a_read_gives_the_range_in_pieces", "were asked for"),
    ("ClosesOnce", "check_a_read_may_be_left", "closed before"),
    ("FindsNothingEmpty", "check_an_empty_object_stands_and_reads_as_nothing", "a look finds nothing"),
    ("WeakTags", "check_a_look_says_what_stands", "a strong ETag has its quotes"),
    ("IgnoresCase", "check_what_is_missing_is_none", "B.txt is found"),
    ("Normalises", "check_spellings_of_one_letter_are_two_objects", "found in NFD"),
    ("Trims", "check_keys_are_exact", "are listed"),
    ("TakesAnyKey", "check_what_is_no_key_has_no_object", "can be no object's key"),
    ("ServesWhatIsOurs", "check_what_is_ours_is_no_object", "can be no object's key"),
    ("ListsByFolder", "check_lists_are_sorted_and_prefixes_are_of_bytes", "comes"),
    ("ListsAfterInclusively", "check_a_long_list_is_whole", "in pages of 7"),
    ("ListsOtherTags", "check_the_list_says_what_a_look_says", "the list says"),
    ("SweepsWhatIsAtWork", "check_a_sweep_leaves_objects_and_uploads_at_work", "something was swept"),
    ("RemovesAnything", "check_only_the_named_version_is_removed", "another ETag was named"),
    ("RemovesWhatIsGone", "check_only_the_named_version_is_removed", "nothing stands there"),
    ("RemovesWithoutSayingSo", "check_only_the_named_version_is_removed", "took the call"),
    ("HidesWhatItRemoves", "check_only_the_named_version_is_removed", "what was removed is found"),
    ("SaysRemovedAgain", "check_removed_twice_is_removed_once", "what is gone was removed again"),
    ("ReadsRemovedAsHalf", "check_what_is_removed_is_read_to_its_end_or_not_at_all", "read as something else"),
    ("LooksThenRemoves", "check_of_a_removal_and_a_replacement_one_happens", "replaced and removed"),
    ("LeavesItsProbe", "check_a_probe_leaves_nothing", "a probe left"),
]
WRONG_AMONG_PROCESSES = [
    ("LocksOneProcessOnly", "check_of_many_processes_one_upload_stands", "one must be stored"),
    ("LocksOneProcessOnly", "check_of_many_processes_one_replacement_stands", "one must be stored"),
    ("WritesInPlace", "check_a_killed_upload_is_never_seen", "an object is found"),
    ("ForgetsAtItsEnd", "check_what_was_stored_outlives_its_opening", "a look finds nothing"),
]


async def test_a_store_that_is_right_passes(wrong_stores: ModuleType) -> None:
    """The wrong ones are made of it: what each of them fails, it must not fail for another reason."""
    verdicts = await StoreSuite(wrong_stores.RightStore, is_shared=False).run_all()
    assert list(verdicts) == list(StoreSuite.CHECKS)
    assert {name for name, verdict in verdicts.items() if verdict.startswith("skipped: each opening")} == NEEDS_SHARING
    assert {verdict for name, verdict in verdicts.items() if name not in NEEDS_SHARING} == {"passed"}


@pytest.mark.parametrize(("wrong", "name", "words"), WRONG)
async def test_a_wrong_store_fails(wrong: str, name: str, words: str, wrong_stores: ModuleType) -> None:
    """Each of them does one thing as some real store does it; the suite must say what."""
    suite = StoreSuite(getattr(wrong_stores, wrong), is_shared=False)
    with pytest.raises(CheckFailed, match=words):
        await suite.run(name)


@pytest.mark.parametrize(("wrong", "name", "words"), WRONG_AMONG_PROCESSES)
async def test_a_store_that_is_wrong_among_processes_fails(
    wrong: str, name: str, words: str, wrong_stores: ModuleType, tmp_path: pathlib.Path
) -> None:
    """A lock or a file of one process passes every check inside it; only other processes and a kill find it."""
    (tmp_path / "objects").mkdir()
    suite = StoreSuite(functools.partial(getattr(wrong_stores, wrong), tmp_path / "objects"), processes=4)
    if wrong == "LocksOneProcessOnly":
        await suite.run("check_of_many_uploads_one_stands")
    with pytest.raises(CheckFailed, match=words):
        await suite.run(name)


def test_every_check_finds_a_wrong_store() -> None:
    """A check that no wrong store fails may check nothing."""
    assert {name for _, name, _ in (*WRONG, *WRONG_AMONG_PROCESSES)} == set(StoreSuite.CHECKS)


async def test_a_store_that_never_answers_fails(wrong_stores: ModuleType) -> None:
    """A hanging backend must end in a failed check, not in a suite that never ends."""
    suite = StoreSuite(wrong_stores.NeverAnswers, is_shared=False, ends_within_s=0.05)
    with pytest.raises(CheckFailed, match="never answered"):
        await suite.run("check_a_look_says_what_stands")


async def test_an_unknown_check_is_refused(wrong_stores: ModuleType) -> None:
    """A misspelt name must not pass for a check that was run."""
    with pytest.raises(ValueError, match="no check is called run_all"):
        await StoreSuite(wrong_stores.RightStore, is_shared=False).run("run_all")
