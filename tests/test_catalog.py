"""The catalog tells what happened and never changes its story, to one program or several, on either database."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text

from storage import (
    Batch,
    Catalog,
    Edit,
    EditKind,
    EpisodeRow,
    Listed,
    Outcome,
    Refused,
    Task,
    Trial,
    Unavailable,
    Unknown,
    Verdict,
    Wanted,
    WorkOrder,
    engine,
    freeze,
)
from tests.said import REACH, episode, policy

ROOT = Path(__file__).parent.parent


def found(catalog: Catalog, **wanted: Any) -> list[UUID]:
    return [one.row.id for one in catalog.find(Wanted(**wanted))]


def test_a_whole_day_is_told_the_same_on_either_database(where: str) -> None:
    with Catalog(where) as catalog:
        catalog.add(REACH)
        late = episode(9)
        early = episode(1, agent="policy")
        early.started = early.started.astimezone(timezone(timedelta(hours=5)))
        catalog.add(late, early)
        assert found(catalog, task="reach") == [early.id, late.id]
        assert [one.row.started.tzinfo for one in catalog.find(Wanted())] == [UTC, UTC]
        assert catalog.episode(late.id) == late
        assert catalog.episode(late.id.hex[:9]) == late
        catalog.add(Verdict(episode=late.id, by="ada", outcome=Outcome.FAILURE, failure="LOC", evidence={"mm": 9.5}))
        catalog.add(Verdict(episode=late.id, by="bob", outcome=Outcome.SUCCESS, secondary=["TIME"]))
        assert found(catalog, outcome=Outcome.FAILURE) == []
        assert found(catalog, task="reach", outcome=Outcome.SUCCESS, agent="person") == [late.id]
        assert [verdict.by for verdict in catalog.verdicts(late.id)] == ["ada", "bob"]
        assert catalog.last_verdicts([early.id, late.id])[late.id].secondary == ["TIME"]
        frozen = catalog.snapshot("reach", catalog.find(Wanted()), query="all of them")
        learned = policy()
        learned.snapshot, learned.settings = frozen.id, {"width": 256}
        catalog.add(learned)
        assert catalog.policy("bc-1") == learned == catalog.policy(learned.id)
        batch = Batch(id="b", task="reach", station="table", seed=2**40, planned=1)
        catalog.plan(batch, [Trial(batch="b", turn=0, task="reach", policy=learned.id, condition={"seed": 3})])
        trial = catalog.claim_trial("b", "me")
        assert trial is not None
        catalog.close_trial(trial, early.id)
        assert catalog.batch("b").closed is not None
        with pytest.raises(Unknown, match="there is no task 'jump'; there are: reach"):
            catalog.add(episode(task="jump"))
        with pytest.raises(Refused, match="differs in instruction"):
            catalog.add(Task(name="reach", instruction="something else"))


PROGRAM = """
import json, sys
from datetime import UTC, datetime
from uuid import uuid4
from storage import Catalog, Edit, EditKind, EpisodeRow, Outcome, StreamRow, Task, Verdict
where, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
catalog = Catalog(where)
catalog.add(Task(name="reach", instruction="reach the pose"))
print("open", flush=True)
sys.stdin.readline()
claimed = []
while (trial := catalog.claim_trial("b", name)) is not None:
    claimed.append(trial.turn)
    now = datetime.now(UTC)
    key = uuid4()
    said = {"agent": "policy", "operator": f"o{trial.turn}", "path": "p", "digest": "d", "seconds": 1, "started": now}
    row = EpisodeRow(id=key, task="reach", **said)
    catalog.add(row, StreamRow(episode=row.id, name=f"d{trial.turn}", rows=9))
    catalog.add(Verdict(episode=row.id, by=name, outcome=Outcome.SUCCESS))
    catalog.edit(*(Edit(episode=key, kind=kind, by=name) for kind in (EditKind.RETIRE, EditKind.RESTORE)))
    if trial.turn % 2:
        catalog.edit(Edit(episode=key, kind=EditKind.RETIRE, by=name))
    catalog.close_trial(trial, row.id)
print(json.dumps(claimed), flush=True)
"""


def test_programs_that_write_one_catalog_at_once_lose_nothing(where: str) -> None:
    """They make the catalog, share out its trials, and add episodes, verdicts and edits, all at the same time."""
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, where, f"p{name}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in range(4)
    ]

    def heard(word: str = "") -> list[str]:
        """Let all go on, once all have spoken."""
        said = []
        for program in programs:
            assert program.stdout is not None
            said.append(program.stdout.readline())
        assert all(word in line for line in said), said
        return said

    def go() -> None:
        for program in programs:
            assert program.stdin is not None
            program.stdin.write("\n")
            program.stdin.flush()

    heard("ready")
    go()
    heard("open")
    with Catalog(where) as catalog:
        driver = policy()
        catalog.add(driver)
        trials = [Trial(batch="b", turn=turn, task="reach", policy=driver.id) for turn in range(60)]
        catalog.plan(Batch(id="b", task="reach", station="table", seed=1, planned=60), trials)
        go()
        claimed = [json.loads(line) for line in heard()]
        for program in programs:
            program.communicate()
        assert sorted(turn for turns in claimed for turn in turns) == list(range(60))
        assert len({trial.episode for trial in catalog.trials("b")}) == 60
        assert catalog.batch("b").closed is not None
        assert len(catalog.operators()) == 60
        assert len(catalog.edits()) == 150
        assert catalog.count(Wanted(outcome=Outcome.SUCCESS)) == 30
        assert catalog.count(Wanted(outcome=Outcome.SUCCESS, retired=True)) == 30
        assert [catalog.count(Wanted(device=f"d{turn}", retired=None)) for turn in range(60)] == [1] * 60


def test_a_writer_that_waits_in_vain_is_told_so(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = episode()
    with Catalog(where) as first:
        first.add(REACH)
        monkeypatch.setattr(engine, "PATIENCE", 0.2)
        with Catalog(where) as second, closing(engine.Database(where)) as stuck, stuck.write():
            with pytest.raises(Unavailable, match=r"\(another program has been writing for 30 s: is one of them stuck"):
                second.add(row)
            assert second.tasks() == [REACH]
        first.add(row)


def test_what_is_read_together_is_of_one_moment(where: str) -> None:
    with Catalog(where) as catalog, closing(engine.Database(where)) as database:
        catalog.add(REACH, episode(1))
        count = select(func.count()).select_from(EpisodeRow)
        with database.read() as session:
            assert session.scalar(count) == 1
            catalog.add(episode(2))
            assert session.scalar(count) == 1
        with database.read() as session:
            assert session.scalar(count) == 2


@pytest.mark.parametrize("where", ["mysql://host/name", "https://example.org"])
def test_a_place_that_is_no_database_of_ours_is_refused(where: str) -> None:
    with pytest.raises(Unavailable, match="sqlite:///file, nor postgresql://"):
        Catalog(where)


def test_a_server_that_does_not_answer_is_told_without_its_password() -> None:
    with pytest.raises(Unavailable, match="catalog at postgresql") as refused:
        Catalog("postgresql://somebody:secret@127.0.0.1:1/nothing")
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.db").write_text("not a database, but long enough to be looked at " * 20)
    with pytest.raises(Unavailable, match="not a database"):
        Catalog(tmp_path / "c.db")


def test_a_file_that_may_only_be_read_says_so_and_still_answers(tmp_path: Path) -> None:
    row = episode()
    with Catalog(tmp_path / "c.db") as catalog:
        catalog.add(REACH, row)
    with Catalog(f"sqlite:///file:{tmp_path}/c.db?mode=ro&uri=true") as reading:
        assert found(reading) == [row.id]
        with pytest.raises(Unavailable, match=r"readonly database \(the file or its disk cannot be written to"):
            reading.edit(Edit(episode=row.id, kind=EditKind.RETIRE, by="ada"))
        assert found(reading) == [row.id]


def test_a_server_that_may_only_be_read_says_so(server: str) -> None:
    with pytest.raises(Unavailable, match=r"read-only transaction \(the server only lets itself be read"):
        Catalog(f"{server}?options=-c%20default_transaction_read_only%3Don")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match=r"the catalog's folder cannot be made: .*file"):
        Catalog(tmp_path / "file" / "below" / "c.db")


FILLED = """
import resource, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4
from storage import Catalog, EpisodeRow, Task, Unavailable, Wanted
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
where = Path(sys.argv[1])
with Catalog(where) as catalog:
    catalog.add(Task(name="reach", instruction="reach"))
    def add():
        now, key = datetime.now(UTC), uuid4()
        row = EpisodeRow(id=key, task="reach", agent="x" * 9000, path="p", digest="d", seconds=1, started=now)
        catalog.add(row)
    add()
    room = max(file.stat().st_size for file in where.parent.iterdir()) + 30_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    kept = 1
    try:
        while kept < 1000:
            add()
            kept += 1
    except Unavailable as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(kept == catalog.count(Wanted()))
    add()
    print(kept + 1 == catalog.count(Wanted()))
"""


def test_a_full_disk_is_told_and_what_was_kept_before_stays(tmp_path: Path) -> None:
    """The disk is full for this one program: its files may not grow. Once there is room it goes on."""
    program = [sys.executable, "-c", FILLED, str(tmp_path / "c.db")]
    said = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "the catalog at sqlite:" in said[0]
    assert "disk" in said[0]
    assert said[1:] == ["True", "True"]


def test_opening_a_catalog_that_is_up_to_date_does_not_load_alembic(tmp_path: Path) -> None:
    Catalog(tmp_path / "c.db").close()
    program = f"import sys, storage; storage.Catalog({str(tmp_path / 'c.db')!r}); print('alembic' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_sqlite_keeps_its_promises(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.db") as catalog, catalog._database.engine.connect() as connection:
        said = {
            promise: connection.execute(text(f"PRAGMA {promise}")).scalar()
            for promise in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert said == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_every_way_to_fail_has_a_meaning(catalog: Catalog) -> None:
    modes = {mode.code: mode for mode in catalog.failure_modes()}
    assert len(modes) == 13
    assert modes["DROP"].stage == "S3"
    assert modes["ENV"].stage == "S0"
    assert all(mode.name and mode.meaning and mode.taxonomy == "failure-taxonomy/1.0" for mode in modes.values())


def test_a_failure_must_name_its_mode(catalog: Catalog) -> None:
    row = episode()
    catalog.add(row)
    with pytest.raises(Refused, match="has to name its mode"):
        catalog.add(Verdict(episode=row.id, by="ada", outcome=Outcome.FAILURE))
    with pytest.raises(Unknown, match="no failure mode 'CLUMSY'; there are: CON, DROP"):
        catalog.add(Verdict(episode=row.id, by="ada", outcome=Outcome.FAILURE, failure="CLUMSY"))
    assert catalog.verdicts(row.id) == []


def test_a_task_says_what_is_to_be_done(catalog: Catalog) -> None:
    with pytest.raises(Refused, match="task 'mute' needs an instruction"):
        catalog.add(Task(name="mute", instruction=" "))


def test_adding_is_all_or_nothing(catalog: Catalog) -> None:
    with pytest.raises(Unknown):
        catalog.add(episode(1), episode(2), episode(3, task="jump"))
    assert found(catalog) == []


def test_rows_may_be_added_in_any_order_and_twice(catalog: Catalog) -> None:
    row = episode(task="jump")
    jump = Task(name="jump", instruction="jump")
    catalog.add(Verdict(episode=row.id, by="ada", outcome=Outcome.SUCCESS), row, jump)
    catalog.add(row, jump)
    assert found(catalog, task="jump", outcome=Outcome.SUCCESS) == [row.id]


def test_an_episode_is_never_rewritten(catalog: Catalog) -> None:
    row = episode()
    catalog.add(row)
    row.digest = "another"
    with pytest.raises(Refused, match=r"episode .* is in the catalog already, and differs in digest"):
        catalog.add(row)
    assert catalog.episode(row.id).digest != "another"


def test_a_moment_without_a_time_zone_is_refused(catalog: Catalog) -> None:
    row = episode()
    row.started = row.started.replace(tzinfo=None)
    with pytest.raises(Refused, match="says no time zone"):
        catalog.add(row)


def test_the_first_digits_are_enough_unless_two_begin_so(catalog: Catalog) -> None:
    one, two = UUID("abcd0000-0000-4000-8000-000000000001"), UUID("abce0000-0000-4000-8000-000000000002")
    catalog.add(episode(1, one), episode(2, two))
    assert catalog.episode("ABCD").id == one
    assert catalog.episode("abce0000-0000-4").id == two
    assert catalog.episode(str(one)).id == one
    with pytest.raises(Unknown, match=f"2 begin with 'abc', give more digits: {one}, {two}"):
        catalog.episode("abc")
    for wrong in ("abcf", "the last one", "", uuid4()):
        with pytest.raises(Unknown, match="there is no episode"):
            catalog.episode(wrong)


def test_unknown_names_are_answered_with_those_there_are(catalog: Catalog) -> None:
    for ask in (catalog.task, lambda task: catalog.find(Wanted(task=task)), catalog.policies, catalog.batches):
        with pytest.raises(Unknown, match=r"^there is no task 'jump'; there are: reach$"):
            ask("jump")
    with pytest.raises(Unknown, match="there is no policy 'bc-9'; there are none yet"):
        catalog.policy("bc-9")
    catalog.add(*(policy(f"bc-{i}") for i in range(30)))
    with pytest.raises(Unknown, match=r"there is no policy 'bc-99'; there are: bc-0, bc-1, .*, \.\.\.$"):
        catalog.policy("bc-99")
    with pytest.raises(Unknown, match="there is no batch 'b'"):
        catalog.claim_trial("b", "me")


def test_policies_are_named_after_their_method_in_turn(catalog: Catalog) -> None:
    assert catalog.next_policy_name("bc") == "bc-1"
    catalog.add(policy("bc-1"), policy("bc-10"), policy("bc-big-40"), policy("bcx-50"))
    assert catalog.next_policy_name("bc") == "bc-11"
    with pytest.raises(Refused, match="differs in"):
        catalog.add(policy("bc-10"))


def test_a_snapshot_is_named_by_what_is_in_it(catalog: Catalog) -> None:
    catalog.add(episode(1), episode(2))
    one, two = catalog.find(Wanted())
    first = catalog.snapshot("reach", [one, two], query="successes")
    assert catalog.snapshot("reach", [two, one], query="asked otherwise") == first
    assert first.episodes == sorted([[str(one.row.id), one.row.digest], [str(two.row.id), two.row.digest]])
    assert freeze([one]).id != first.id
    two.standing.digest = "changed"
    assert freeze([one, two]).id != first.id
    with pytest.raises(ValueError, match="these have none"):
        freeze([])
    with pytest.raises(ValueError, match="cannot hold episodes of 'reach'"):
        catalog.snapshot("jump", [one])
    stranger = Listed(episode(3), one.standing)
    with pytest.raises(Unknown, match=f"does not have {stranger.row.id}; add these episodes first"):
        catalog.snapshot("reach", [stranger])


def plan(catalog: Catalog, turns: int) -> list[Trial]:
    driver = policy()
    catalog.add(driver)
    trials = [Trial(batch="b", turn=turn, task="reach", policy=driver.id) for turn in range(turns)]
    return catalog.plan(Batch(id="b", task="reach", station="table", seed=1, planned=turns), trials)


def test_a_task_has_ways_to_fail_of_its_own_each_a_case_of_a_common_one(catalog: Catalog) -> None:
    catalog.add(REACH, Task(name="jump", instruction="jump over it"))
    own = catalog.fails_as("reach", "PREC.lid", "lid ajar", "the lid is on, and not closed")
    assert (own.stage, own.taxonomy) == ("S4/S5", "reach/1.0")
    assert {mode.code for mode in catalog.failure_modes("reach")} - {m.code for m in catalog.failure_modes("jump")} == {
        "PREC.lid"
    }
    assert len(catalog.failure_modes()) == 14
    catalog.fails_as("reach", "PREC.lid", "lid ajar", "the lid is on, and not closed")
    with pytest.raises(Refused, match="differs in name, meaning"):
        catalog.fails_as("reach", "PREC.lid", "open", "something else")
    for wrong in ("LID", "PREC", "PREC.Lid", "NOPE.lid", "PREC.lid.more"):
        with pytest.raises(Refused, match="is no case of a common code: write one of CON, DROP"):
            catalog.fails_as("reach", wrong, "lid ajar", "")
    row = episode(0)
    catalog.add(row)
    catalog.add(Verdict(episode=row.id, by="ada", outcome=Outcome.FAILURE, failure="PREC.lid"))
    assert catalog.last_verdicts([row.id])[row.id].failure == "PREC.lid"


def test_a_batch_that_is_ended_early_gives_out_no_more_trials_and_says_why(catalog: Catalog) -> None:
    row = policy()
    catalog.add(REACH, row)
    trials = [Trial(batch="b", turn=turn, task="reach", policy=row.id) for turn in (0, 1)]
    catalog.plan(Batch(id="b", task="reach", station="table", seed=1, planned=2), trials)
    running = catalog.claim_trial("b", "somebody")
    assert running is not None
    with pytest.raises(Refused, match="cannot be ended without a reason"):
        catalog.end_batch("b", "")
    catalog.end_batch("b", "it is decided")
    catalog.end_batch("b", "somebody else says so, too")
    assert catalog.claim_trial("b", "somebody") is None
    assert (catalog.batch("b").ended, catalog.batch("b").closed is None) == ("it is decided", False)
    done = episode(0)
    catalog.add(done)
    catalog.close_trial(running, done.id)
    assert [one.episode for one in catalog.trials("b")] == [done.id, None]


def test_an_order_that_is_fulfilled_says_what_it_brought(catalog: Catalog) -> None:
    catalog.add(REACH)
    order = catalog.order(WorkOrder(task="reach", wanted=1, part=[{"feature": "y"}], evidence={"gain": 0.25}))
    catalog.fulfil(order.id, {"before": 0.1, "after": 0.9})
    (stored,) = catalog.orders(closed=True)
    assert catalog.work_order(order.id).result == stored.result
    with pytest.raises(Unknown, match="there is no work order '99'"):
        catalog.work_order(99)
    assert (stored.part, stored.evidence, stored.result) == (
        [{"feature": "y"}],
        {"gain": 0.25},
        {"before": 0.1, "after": 0.9},
    )
    with pytest.raises(Unknown, match="99"):
        catalog.fulfil(99, {})


def test_trials_are_claimed_in_turn_and_the_batch_closes_with_the_last(catalog: Catalog) -> None:
    assert [trial.turn for trial in plan(catalog, 2)] == [0, 1]
    rows = [episode(i) for i in range(3)]
    catalog.add(*rows)
    first, second = catalog.claim_trial("b", "me"), catalog.claim_trial("b", "you")
    assert first is not None
    assert second is not None
    assert (first.turn, first.claimed_by, second.turn) == (0, "me", 1)
    assert catalog.claim_trial("b", "me") is None
    catalog.release_trial(first)
    again = catalog.claim_trial("b", "you")
    assert again is not None
    assert (again.id, again.claimed_by) == (first.id, "you")
    catalog.close_trial(again, rows[0].id)
    catalog.close_trial(again, rows[0].id)
    with pytest.raises(Refused, match=r"turn 0 of batch 'b' was already run by"):
        catalog.close_trial(again, rows[1].id)
    with pytest.raises(Refused, match="already ran turn 0"):
        catalog.close_trial(second, rows[0].id)
    with pytest.raises(Refused, match="has run"):
        catalog.release_trial(again)
    with pytest.raises(Unknown, match="there is no episode"):
        catalog.close_trial(second, uuid4())
    assert catalog.batches("reach")[0].closed is None
    catalog.close_trial(second, rows[1].id)
    assert catalog.batch("b").closed is not None
    assert [trial.episode for trial in catalog.trials(task="reach")] == [rows[0].id, rows[1].id]


def test_a_plan_that_contradicts_itself_is_refused(catalog: Catalog) -> None:
    def batch(planned: int) -> Batch:
        return Batch(id="x", task="reach", station="table", seed=1, planned=planned)

    def trial(turn: int, of: str = "x", by: UUID | None = None) -> Trial:
        return Trial(batch=of, turn=turn, task="reach", policy=by or uuid4())

    wrong: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: catalog.plan(batch(1), [trial(0, of="y")]), Refused, r"cannot hold trials of \['y'\]"),
        (lambda: catalog.plan(batch(3), [trial(0), trial(1)]), Refused, "plans 3 trials, but 2 were given"),
        (lambda: catalog.plan(batch(2), [trial(0), trial(0)]), Refused, "two trials of the same turn"),
        (lambda: catalog.plan(batch(1), [trial(0)]), Unknown, "there is no policy"),
    ]
    for attempt, kind, helps in wrong:
        with pytest.raises(kind, match=helps):
            attempt()
    assert catalog.batches() == []
    plan(catalog, 1)
    with pytest.raises(Refused, match="there is already a batch 'b'"):
        catalog.plan(Batch(id="b", task="reach", station="table", seed=1, planned=0), [])
