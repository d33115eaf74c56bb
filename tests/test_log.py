"""A log tells what it holds: to whoever wrote it at once, to anybody else after looking for what is whole."""

import hashlib
from pathlib import Path

from google_crc32c import value as crc32c

from storage.log import HEADER, Log, Records

BODIES = [b"first", b"", b"the third one", bytes(1000)]


def written(path: Path) -> Log:
    log = Log(path)
    for t, body in enumerate(BODIES):
        log.append(10 * t, body)
    log.close()
    return log


def test_who_wrote_a_log_knows_what_reading_it_would_tell(tmp_path: Path) -> None:
    log = written(tmp_path / "log")
    with Records(tmp_path / "log") as found, Records(tmp_path / "log", log) as known:
        assert found.index == known.index
        assert [found.body(record) for record in found.index] == BODIES
        assert [record.t for record in known.index] == [0, 10, 20, 30]
        assert (found.end, found.tail()) == (known.end, b"") == ((tmp_path / "log").stat().st_size, b"")


def test_its_sum_is_that_of_the_file(tmp_path: Path) -> None:
    log, content = written(tmp_path / "log"), (tmp_path / "log").read_bytes()
    assert (log.sum.size, log.sum.checksum) == (len(content), crc32c(content))
    assert log.sum.hash == hashlib.blake2b(content, digest_size=16).digest()


def test_what_follows_some_of_the_records_can_be_had(tmp_path: Path) -> None:
    written(tmp_path / "log")
    with Records(tmp_path / "log") as log:
        assert log.end_of(0) == 0
        assert log.end_of(1) == HEADER.size + len(BODIES[0])
        assert log.after(3) == (tmp_path / "log").read_bytes()[-HEADER.size - 1000 :]
        assert log.body(log.index[2], 3) == b"the"


def test_an_empty_log_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    with Records(tmp_path / "log") as log:
        assert (log.index, log.end, log.tail()) == ([], 0, b"")
