"""What happened is written once, whole, by however many programs, and read back by what it was about."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest

from ops.journal import Asked, Journal, Keeping, Level, follow, read

ROOT = Path(__file__).parent.parent
DAY = datetime(2026, 11, 21, 18, 3, tzinfo=UTC)


def at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


def test_a_line_says_when_how_bad_what_and_what_it_is_about(tmp_path: Path) -> None:
    journal = Journal(tmp_path, now=at(DAY)).of_these(job="j1").of_these(episode="e1")
    journal.warn("a camera was late", camera="front", seconds=0.25)
    (line,) = read(tmp_path)
    assert line == {
        "t": "2026-11-21T18:03:00.000000Z",
        "level": "warn",
        "what": "a camera was late",
        "job": "j1",
        "episode": "e1",
        "camera": "front",
        "seconds": 0.25,
    }


def test_what_lines_are_about_has_a_name_that_can_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\['camera'\] are facts"):
        Journal(tmp_path).of_these(camera="front")


def test_lines_are_found_by_the_first_characters_of_an_id_by_level_and_by_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.of_these(job="abc1").info("one")
    journal.of_these(job="abd2", episode="e").error("two")
    journal.of_these(episode="e").debug("three")

    def found(asked: Asked) -> list[str]:
        return [line["what"] for line in read(tmp_path, asked)]

    assert found(Asked()) == ["one", "two", "three"]
    assert found(Asked({"job": "ab"})) == ["one", "two"]
    assert found(Asked({"job": "abc"})) == ["one"]
    assert found(Asked({"job": "ab", "episode": "e"})) == ["two"]
    assert found(Asked(least=Level.INFO)) == ["one", "two"]
    assert found(Asked(least=Level.ERROR)) == ["two"]
    assert found(Asked(since=datetime.now(UTC) + timedelta(hours=1))) == []


@pytest.mark.parametrize(
    "said",
    [
        "postgresql://mika:hun/ter2@db/lab cannot be reached",
        "AWS_SECRET_ACCESS_KEY=hunter2 is wrong",
        '{"aws_secret_access_key": "hunter2", "region": "x"}',
        "{'password': 'hunter2'}",
        "secret_access_key: hunter2",
        "X-Amz-Signature=hunter2&X-Amz-Date=1",
    ],
)
def test_no_secret_is_written_however_a_library_says_it(tmp_path: Path, said: str) -> None:
    Journal(tmp_path).error(said)
    (line,) = read(tmp_path)
    assert "ter2" not in line["what"], line
    assert "***" in line["what"]


@pytest.mark.parametrize("said", ["step 3 of 4: the token is new", "https://cell:8443/log of a@b", "keys: 4"])
def test_what_is_no_secret_is_written(tmp_path: Path, said: str) -> None:
    Journal(tmp_path).info(said)
    (line,) = read(tmp_path)
    assert line["what"] == said


def test_no_secret_is_written(tmp_path: Path) -> None:
    Journal(tmp_path).info(
        "asked postgresql://mika:hunter2@db/lab with Authorization: Bearer abcd-efgh",
        token="abcd-efgh",
        headers={"Authorization": "hunter2", "deep": [{"db_password": "hunter2"}]},
        url="http://here/?token=abcd-efgh&task=stack",
        exit_code=3,
    )
    (path,) = tmp_path.iterdir()
    assert not re.search(r"hunter2|abcd", path.read_text())
    (line,) = read(tmp_path)
    assert line["what"] == "asked postgresql://mika:***@db/lab with Authorization: Bearer ***"
    assert line["url"] == "http://here/?token=***&task=stack"
    assert line["exit_code"] == 3


def test_a_moment_that_is_a_fact_does_not_replace_the_line_s_own(tmp_path: Path) -> None:
    Journal(tmp_path, now=at(DAY)).info("it began", t="yesterday")
    assert next(read(tmp_path))["t"].startswith("2026-11-21")


def test_what_json_cannot_hold_is_written_as_text(tmp_path: Path) -> None:
    Journal(tmp_path).info("loss", loss=float("nan"), most=float("inf"), path=Path("/a"), odd=object, none=None)
    (line,) = read(tmp_path)
    assert (line["loss"], line["most"], line["path"], line["none"]) == ("nan", "inf", "/a", None)
    assert "NaN" not in next(tmp_path.iterdir()).read_text()


def test_a_line_that_is_too_long_keeps_its_beginning_and_what_it_is_about(tmp_path: Path) -> None:
    Journal(tmp_path).of_these(job="j").error("it broke", trace="ä" * 100_000)
    (line,) = read(tmp_path)
    assert (line["what"], line["job"], line["level"]) == ("it broke", "j", "error")
    assert next(tmp_path.iterdir()).stat().st_size < 20_000


def test_a_large_file_is_followed_by_another_and_old_ones_go(tmp_path: Path) -> None:
    journal = Journal(tmp_path, keeping=Keeping(largest=1000, most=5000), now=at(DAY))
    for number in range(100):
        journal.info("x" * 100, number=number)
    files = sorted(tmp_path.iterdir())
    assert all(path.stat().st_size < 1200 for path in files)
    assert sum(path.stat().st_size for path in files) < 6500
    numbers = [line["number"] for line in read(tmp_path)]
    assert numbers == list(range(numbers[0], 100))
    assert len(numbers) > 20


def test_what_is_older_than_it_may_be_goes_and_other_files_stay(tmp_path: Path) -> None:
    Journal(tmp_path, now=at(DAY - timedelta(days=31))).info("long ago")
    Journal(tmp_path, now=at(DAY - timedelta(days=29))).info("a while ago")
    (tmp_path / "notes.jsonl").write_text("mine\n")
    Journal(tmp_path, now=at(DAY)).info("today")
    assert [line["what"] for line in read(tmp_path)] == ["a while ago", "today"]
    assert (tmp_path / "notes.jsonl").exists()


def test_several_programs_and_threads_write_at_once_and_every_line_is_whole(tmp_path: Path) -> None:
    program = """
import sys, threading
from pathlib import Path
from ops.journal import Journal, Keeping
journal = Journal(Path(sys.argv[1]), keeping=Keeping(largest=50_000)).of_these(job=sys.argv[2])
def write(thread):
    for number in range(150):
        journal.info("x" * (number % 97), thread=thread, number=number)
threads = [threading.Thread(target=write, args=(thread,)) for thread in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(which)], cwd=ROOT) for which in range(3)
    ]
    assert [one.wait() for one in running] == [0, 0, 0]
    raw = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir())).splitlines()
    assert len(raw) == 3 * 3 * 150
    said = {(line["job"], line["thread"], line["number"]) for line in map(json.loads, raw)}
    assert len(said) == len(raw)
    assert len(list(tmp_path.iterdir())) > 1


def test_a_forked_child_goes_on_writing_even_if_its_parent_was_writing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.info("parent")
    journal._pen._lock.acquire()
    child = os.fork()
    if child == 0:
        journal.info("child")
        os._exit(0)
    journal._pen._lock.release()
    assert os.waitpid(child, 0)[1] == 0
    assert [line["what"] for line in read(tmp_path)] == ["parent", "child"]


def test_half_a_line_is_left_out_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.info("one")
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b'{"t": "2026", "lev\n[1]\n"text"\n')
    journal.info("two")
    assert [line["what"] for line in read(tmp_path)] == ["one", "two"]


def test_a_file_that_somebody_removed_is_begun_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.info("one")
    next(tmp_path.iterdir()).unlink()
    journal.info("two")
    assert [line["what"] for line in read(tmp_path)] == ["two"]


def test_what_cannot_be_written_does_not_end_the_work_and_is_told_of_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    folder.write_text("in the way")
    journal = Journal(folder)
    journal.info("one")
    journal.info("two")
    assert capsys.readouterr().err.count("cannot be written") == 1
    folder.unlink()
    journal.info("three")
    journal.info("four")
    assert [line["what"] for line in read(folder)] == ["2 lines before this could not be kept", "three", "four"]


def test_new_lines_are_followed_over_the_end_of_a_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path, keeping=Keeping(largest=300))
    journal.info("before")
    left = iter(range(30))

    def write_on(_seconds: float) -> None:
        number = next(left)
        journal.of_these(job="j" if number % 2 else "k").info("after", number=number)

    heard = follow(tmp_path, Asked({"job": "j"}), lambda: False, write_on)
    assert [line["number"] for line in islice(heard, 10)] == list(range(1, 20, 2))


def test_half_a_line_is_followed_once_it_is_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.info("before")
    (path,) = tmp_path.iterdir()
    line = b'{"t": "9", "level": "info", "what": "slow"}\n'
    parts = iter([line[:10], line[10:]])

    def write_on(_seconds: float) -> None:
        with path.open("ab") as file:
            file.write(next(parts, b""))

    tries = iter(range(5))
    heard = follow(tmp_path, Asked(), lambda: next(tries, None) is None, write_on)
    assert [line["what"] for line in heard] == ["slow"]


def test_what_libraries_say_is_heard_only_within_the_block(tmp_path: Path) -> None:
    journal = Journal(tmp_path).of_these(job="j")
    with journal.hearing():
        logging.getLogger("some.library").warning("slow %s", "disk")
        logging.getLogger("some.library").info("chatter")
        try:
            raise OSError("gone")
        except OSError:
            logging.getLogger("some.library").exception("failed")
    logging.getLogger("some.library").warning("later")
    first, second = read(tmp_path)
    assert (first["level"], first["what"], first["from"], first["job"]) == ("warn", "slow disk", "some.library", "j")
    assert second["level"] == "error"
    assert "OSError: gone" in second["trace"]


def test_threads_that_turn_to_the_next_file_together_lose_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, keeping=Keeping(largest=200))

    def write() -> None:
        for number in range(100):
            journal.info("x", number=number)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(1 for _ in read(tmp_path)) == 400
