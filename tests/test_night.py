"""A night: what is new is learned, proved and tried; the gate that says no is named; killed anywhere, it ends alike."""

import json
import pkgutil
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import torch

from appliance.home import Home
from appliance.night import STEPS, InOrder, StepFailed, night
from appliance.night_asked import candidate
from appliance.night_steps import every, set_aside
from appliance.night_tried import give_back
from appliance.settings import learner
from appliance.train import train
from ops import leases, morning
from storage import Batch, Catalog, Night, Outcome, Refused, Task, Trial, WorkerRow
from tests.nights import (
    NIGHT,
    TASK,
    Planted,
    asked,
    called_a_success,
    candidate_wins,
    copied,
    demonstrations,
    demonstrations_waiting,
    nobody,
    rewritten,
    share_of_one,
    show,
    taught,
    wait,
)
from tests.said import REACH, policy
from tests.typed import typing_on

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Five demonstrations of the starter task, by the script."""
    return taught(tmp_path_factory.mktemp("taught"), 5)


@pytest.fixture
def home(shown: Home, tmp_path: Path) -> Home:
    return copied(shown, tmp_path / "home")


@pytest.fixture
def row(home: Home) -> Iterator[Any]:
    """Reads the night's row."""
    with home.join() as catalog:
        yield lambda name=NIGHT: catalog.night(name)


def with_champion(home: Home, **more: Any) -> str:
    """Have a first night on all but the last two demonstrations, and return its champion's name."""
    later = demonstrations(home)[3:]
    wait(home, later)
    ended = night(Planted(home), asked(night="2026-11-20-pick_place", **more))
    assert ended["decision"] == "promoted"
    wait(home, later, release=True)
    with home.join() as catalog:
        champion = catalog.champion(TASK)
        assert champion is not None
        return champion.name


def page_of(home: Home, name: str = NIGHT) -> str:
    return (morning.folder(home.folder, name) / "morning.html").read_text()


def test_a_first_night_tries_what_it_trained_in_the_twin(home: Home, row: Any) -> None:
    """Two real trials of a policy that remembers four takes: whatever they show, it is on record and on the page."""
    ended = night(InOrder(home), asked(method="nearest", settings={}, trials=2, limit=3.0))
    found: Night = row()
    assert ended["decision"] == found.decision
    assert found.decision in {"kept", "promoted"}
    assert found.candidate == candidate(NIGHT)
    assert found.ended is not None
    with home.join() as catalog:
        assert catalog.batch(str(found.batch)).closed is not None
        assert all(trial.episode for trial in catalog.trials(found.batch))
    page = page_of(home)
    assert "nearest-1" in page
    assert "data:image/png;base64," in page
    assert 'src="http' not in page


def test_a_first_policy_that_succeeds_becomes_champion_and_a_second_night_has_nothing_new(home: Home, row: Any) -> None:
    assert night(Planted(home), asked(method="nearest", settings={}))["decision"] == "promoted"
    with home.join() as catalog:
        champion = catalog.champion(TASK)
        assert champion is not None
        assert catalog.promotions(TASK)[0].evidence["night"] == NIGHT
    again = night(Planted(home, draws=True), asked(night="2026-11-22-pick_place"))
    assert (again["decision"], again["gate"]) == ("refused", "night.begin"), again
    assert "The nights before" in page_of(home, "2026-11-22-pick_place")
    assert f"nothing is new since {champion.name} learned from 5" in row("2026-11-22-pick_place").why
    assert "a gate said no" in page_of(home, "2026-11-22-pick_place")


def test_a_night_goes_on_from_the_champion_and_proves_it(home: Home, row: Any) -> None:
    """The parent's digest, how alike its weights are, the new episodes and a schedule of its own are on record."""

    class Elsewhere(Planted):
        """Proves on a machine that did not train: how far training went is known there, too."""

        def do(self, name: str, settings: dict[str, Any]) -> dict[str, Any]:
            if name == "night.proof":
                (self.home.folder / "runs").rename(self.home.folder / "runs of another machine")
            return super().do(name, settings)

    champion = with_champion(home, method="ccol", preset="tiny")
    ended = night(Elsewhere(home, succeeds=candidate_wins), asked(aside=0.0))
    assert ended["decision"] == "promoted", ended
    facts = row().facts
    assert facts["train"]["parent"] == champion
    assert facts["proof"]["parent_found"] == facts["proof"]["parent_recorded"] != ""
    assert 0.5 < facts["proof"]["alike"] < 1
    assert facts["proof"]["new"] == 2
    assert facts["proof"]["stages"] == {"": {"done": 6, "steps": 6, "lr": 0.002}}
    with home.join() as catalog:
        policies = [one.policy for one in catalog.promotions(TASK)]
        assert policies[-1] == candidate(NIGHT)
        assert catalog.policy(policies[-1]).parent == policies[0]


def test_a_candidate_that_is_not_shown_to_be_better_is_not_promoted(home: Home, row: Any) -> None:
    champion = with_champion(home, method="nearest", settings={})
    ended = night(Planted(home, succeeds=nobody), asked(settings={}))
    assert (ended["decision"], row().decision) == ("kept", "kept")
    with home.join() as catalog:
        reigning = catalog.champion(TASK)
        assert reigning is not None
        assert reigning.name == champion
        assert len(catalog.promotions(TASK)) == 1


def test_plans_are_compared_on_demonstrations_that_no_night_learned_from(home: Home, row: Any) -> None:
    """A candidate whose error grew beyond what is harmless is refused before it is tried; poison does not count."""
    aside = share_of_one(home)
    with_champion(home, method="ccol", preset="tiny", aside=aside, first=2, settings={"steps": "60", "tracker": "none"})
    with home.join() as catalog:
        (kept,) = [one.row.id for one in every(catalog, TASK) if set_aside(one.row, aside)]
    backwards = rewritten(home, kept, backwards=True, without=("truth",))
    broken = asked(aside=aside, settings={"steps": "6", "tracker": "none", "lr": "0.05", "warmup": "0"})
    ended = night(Planted(home, draws=True), broken)
    assert "gates" in row().facts, ended
    board = row().facts["gates"]["board"]
    assert board[0]["episodes"] == 1, f"{backwards} begins as {kept} does, and is set aside too, but nobody believes it"
    assert board[0]["seen"] == "", board
    assert (ended["decision"], ended["gate"]) == ("refused", "night.gates"), board
    assert row().batch is None
    assert "at most 25% is harmless" in page_of(home)


def test_a_task_to_keep_of_which_nothing_is_measured_stops_the_night(home: Home, row: Any) -> None:
    """Also one that the candidate, which begins anew, does not descend from."""
    with_champion(home, method="ccol", preset="tiny")
    with home.join() as catalog:
        catalog.add(Task(name="earlier", instruction="put the blue cube on the purple pad"))
    ended = night(Planted(home, succeeds=candidate_wins), asked(keep=["earlier"], anew=True))
    assert (ended["decision"], ended["gate"]) == ("refused", "night.gates"), ended
    assert row().why.startswith("night.gates: earlier may not be forgotten, and nothing was measured of it")


def test_half_of_the_new_demonstrations_are_poisoned_and_nothing_is_trained(home: Home, row: Any) -> None:
    """One is called a success and failed, one runs backwards; the page names the gate, and which to look at."""
    champion = with_champion(home, method="nearest", settings={})
    first = demonstrations(home)[0]
    backwards = rewritten(home, first, backwards=True, without=("truth",))
    failed = rewritten(home, first, backwards=True)
    ended = night(Planted(home, draws=True), asked(settings={}))
    assert (ended["decision"], ended["gate"]) == ("refused", "night.grade"), ended
    doubted = row().facts["grade"]["doubted"]
    assert doubted.keys() == {str(backwards), str(failed)}
    assert "time runs backwards" in doubted[str(backwards)]
    assert "its own record shows" in doubted[str(failed)]
    assert row().candidate is None
    page = page_of(home)
    assert "grade: 2 of 4 new demonstrations contradict what is said of them" in page
    assert str(backwards)[:8] in page
    with home.join() as catalog:
        reigning = catalog.champion(TASK)
        assert reigning is not None
        assert reigning.name == champion


def test_a_take_that_failed_and_is_called_a_success_is_left_out(home: Home, row: Any) -> None:
    """Fewer than may contradict themselves: the night goes on without it, and without what nobody has looked at."""
    with home.join() as catalog:
        failed = rewritten(home, demonstrations(home)[0], backwards=True)
        called_a_success(home, [failed])
        assert catalog.standing(failed).outcome is Outcome.SUCCESS
    unseen = rewritten(home, demonstrations(home)[0])

    class Later(Planted):
        def do(self, name: str, settings: dict[str, Any]) -> dict[str, Any]:
            """Somebody teaches while the night looks at what there was."""
            if name == "night.snapshot":
                wait(self.home, [unseen], release=True)
            return super().do(name, settings)

    wait(home, [unseen])
    night(Later(home), asked(method="nearest", settings={}))
    facts = row().facts
    assert facts["grade"]["doubted"].keys() == {str(failed)}
    assert "1 more that succeeded wait in quarantine" in facts["grade"]["why"]
    assert str(unseen) not in facts["snapshot"]["episodes"]
    assert str(failed) not in facts["snapshot"]["episodes"]
    assert len(facts["snapshot"]["episodes"]) == 5


def test_what_changed_on_the_disk_is_not_learned_from(home: Home, row: Any) -> None:
    key = demonstrations(home)[1]
    with home.join() as catalog:
        (home.folder / catalog.standing(key).path / "zarr.json").write_text("{}")
    ended = night(Planted(home), asked(method="nearest", settings={}, doubted=0.5))
    assert row().facts["verify"]["wrong"].keys() == {str(key)}
    assert str(key) not in row().facts["snapshot"]["episodes"]
    assert ended["decision"] == "promoted"


def test_somebody_who_promotes_another_in_the_night_is_not_overruled(home: Home, row: Any) -> None:
    first = with_champion(home, method="nearest", settings={})
    how = learner("random", "tiny", {})
    other = train(home, TASK, "random", "tiny", how, lambda _done, _of, _loss: None).name

    class Meanwhile(Planted):
        def do(self, name: str, settings: dict[str, Any]) -> dict[str, Any]:
            if name == "night.promote":
                with self.home.join() as catalog:
                    catalog.promote(catalog.policy(other), "mika", "by hand")
            return super().do(name, settings)

    ended = night(Meanwhile(home, succeeds=candidate_wins), asked(settings={}))
    assert ended["decision"] == "kept"
    assert f"{other} is the champion of 'pick_place' by now" in row().why
    assert first != other
    with home.join() as catalog:
        assert catalog.promotions(TASK)[-1].by == "mika"


def test_a_step_that_fails_ends_the_night_with_its_reason(home: Home, row: Any) -> None:
    ended = night(Planted(home, draws=True), asked(method="nearest", settings={"nonsense": "1"}))
    assert ended["decision"] == "failed"
    assert row().decision == "failed"
    assert "nonsense" in row().why
    assert "nonsense" in page_of(home)


def test_a_night_that_somebody_ends_stops_at_its_next_step(home: Home, row: Any) -> None:
    """Though it is being had: nothing is trained, and the reason that was given stands."""

    class Ended(Planted):
        def do(self, name: str, settings: dict[str, Any]) -> dict[str, Any]:
            if name == "night.train":
                with self.home.join() as catalog:
                    catalog.end_night(NIGHT, "failed", "ada: the lamp was off")
            return super().do(name, settings)

    night(Ended(home), asked(method="nearest", settings={}))
    assert (row().decision, row().why, row().candidate) == ("failed", "ada: the lamp was off", None)


def test_a_second_night_of_the_task_does_not_begin_beside_the_first(home: Home) -> None:
    InOrder(home).do("night.begin", asked())
    with pytest.raises(StepFailed, match=f"night '{NIGHT}' of task 'pick_place' is not over"):
        night(Planted(home), asked(night="another"))


def test_at_a_real_cell_trials_are_only_proposed(home: Home, row: Any) -> None:
    ended = night(Planted(home), asked(method="nearest", settings={}, station="franka"))
    assert (ended["decision"], ended["gate"]) == ("kept", "night.plan")
    assert "appliance evaluate --task pick_place --station franka --policy nearest-1 --until-decided" in row().why


def test_the_night_of_a_schedule_has_the_same_name_however_often_it_is_asked_for(home: Home) -> None:
    due = asked(due="2026-11-21T02:00:00+00:00") | {"night": ""}
    names = [InOrder(home).do("night.begin", due)["night"] for _ in range(2)]
    assert names == [NIGHT, NIGHT]
    with home.join() as catalog:
        catalog.end_night(NIGHT, "failed", "a test")
    later = due | {"due": "2026-11-21T14:00:00+00:00"}
    assert InOrder(home).do("night.begin", later)["night"] == f"{NIGHT}-2"


class Killed(BaseException):
    """The program is gone."""


class Dying(Planted):
    """Dies once at every step: when it has had its effect, and before anybody knows what it found."""

    def do(self, name: str, settings: dict[str, Any]) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Catalog, "night_found", _killed)
            if name not in {"night.page", "night.verify"}:
                with pytest.raises(Killed):
                    super().do(name, settings)
        super().do(name, settings)
        return super().do(name, settings)


def _killed(*_given: Any) -> dict[str, Any]:
    raise Killed


def rows(home: Home) -> dict[str, Any]:
    """What a night leaves behind, without what is drawn or timed anew."""
    with home.join() as catalog:
        found = catalog.night(NIGHT)
        trials = catalog.trials(found.batch)
        verdicts = catalog.last_verdicts(trial.episode for trial in trials if trial.episode)
        facts = json.loads(json.dumps(found.facts))
        facts["begin"].pop("free")
        facts["train"]["metrics"].pop("seconds")
        return {
            "facts": facts,
            "night": (found.decision, found.why, found.champion, found.candidate, found.batch),
            "policies": [(one.id, one.name, one.digest, one.snapshot, one.parent) for one in catalog.policies(TASK)],
            "promotions": [(one.policy, one.by, one.why, one.evidence) for one in catalog.promotions(TASK)],
            "trials": [(one.policy, one.condition, verdicts[UUID(str(one.episode))].outcome) for one in trials],
            "orders": [(one.wanted, one.part, one.failure, one.why) for one in catalog.orders(TASK, None)],
        }


def test_killed_at_every_step_a_night_leaves_the_same_rows(shown: Home, tmp_path: Path) -> None:
    """Every step dies once between what it does and what is known of it, and is asked again twice."""
    undisturbed, disturbed = (copied(shown, tmp_path / name) for name in ("undisturbed", "disturbed"))
    how = asked(method="ccol")
    assert night(Planted(undisturbed), how)["decision"] == "promoted"
    assert night(Dying(disturbed), how)["decision"] == "promoted"
    assert rows(disturbed) == rows(undisturbed)
    assert len(rows(disturbed)["promotions"]) == 1
    assert len([*(disturbed.folder / "policies").iterdir()]) == 1


def test_the_order_of_steps_needs_nothing_of_what_they_need() -> None:
    """The daemon has it gone through without loading what learns."""
    heavy = "import sys, appliance.night; print(sorted({'torch', 'learners', 'matplotlib'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_step_is_known_to_the_queue() -> None:
    from appliance.kinds import QUEUES

    assert {kind for kind in QUEUES if kind.startswith("night.")} == STEPS.keys()
    assert all(callable(pkgutil.resolve_name(where)) for where in STEPS.values())


def test_a_night_promotes_once_even_if_somebody_went_back_since(home: Home) -> None:
    """Asked again, the step does not undo what a person did in between."""
    with_champion(home, method="nearest", settings={})
    night(Planted(home, succeeds=candidate_wins), asked(settings={}))
    with home.join() as catalog:
        before = len(catalog.promotions(TASK))
        catalog.roll_back(TASK, "mika", "no")
        row = catalog.night(NIGHT)
        promotion = catalog.promotions(TASK)[before - 1]
        again = catalog.promote_once(promotion, row.champion)
        assert again.id == promotion.id
        assert len(catalog.promotions(TASK)) == before + 1
        promotion.evidence = {}
        with pytest.raises(Refused, match="the evidence names none"):
            catalog.promote_once(promotion, row.champion)


def test_a_champion_that_learned_what_is_in_quarantine_now_is_not_gone_on_from(home: Home, row: Any) -> None:
    champion = with_champion(home, method="ccol")
    wait(home, demonstrations(home)[:1])
    ended = night(Planted(home, succeeds=nobody), asked())
    assert ended["decision"] == "kept", ended
    train_said = row().facts["train"]
    assert train_said["parent"] is None
    assert f"{champion} learned, itself or by its parents, from what is in quarantine now" in train_said["why"]


def test_what_was_asked_at_the_command_line_is_told_there(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A night that a gate refuses exits 1, and stands in the status, the history and on the page."""
    monkeypatch.setenv("APPLIANCE_HOME", str(home.folder))
    monkeypatch.delenv("APPLIANCE_DATABASE", raising=False)
    type_ = typing_on(capsys)
    refused = type_("nightly", "run", "--task", TASK, "--first", "9", "--aside", "0")
    assert refused.code == 1
    assert "5 demonstrations for a first policy, and it needs 9" in refused.out
    (listed,) = type_("nightly", "history", "--json").json
    assert (listed["decision"], listed["gate"]) == ("refused", "begin")
    shown_again = type_("nightly", "show", listed["id"], "--json").json
    assert shown_again["steps"][0]["passed"] is False
    assert type_("nightly", "run", "--task", TASK, "--daily", "25:00").code == 1
    assert type_("nightly", "run", "--task", TASK, "--daily", "2:30", "--trials", "6").code == 0
    status = type_("nightly", "status", "--json").json
    assert [one["cron"] for one in status["planned"]] == ["30 2 * * *"]
    assert status["missed"] == []
    assert "every day at 02:30" in type_("nightly", "status").out
    assert "No more nights" in type_("nightly", "off", "--task", TASK).out
    assert "No nights of" in type_("nightly", "off", "--task", TASK).out


def test_a_night_that_was_left_is_gone_on_with_or_ended(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("APPLIANCE_HOME", str(home.folder))
    type_ = typing_on(capsys)
    InOrder(home).do("night.begin", asked(first=9))
    with leases.sole(home.folder, f"night-{NIGHT}", "mika"):
        assert "is being had by another program" in type_("nightly", "run", "--task", TASK).err
    with home.jobs() as jobs:
        jobs.enqueue("night", asked(night="theirs"), "eve", id="theirs")
        assert "the daemon has a night of pick_place, as job theirs" in type_("nightly", "run", "--task", TASK).err
        jobs.cancel("theirs", "eve", "not now")
    gone_on = type_("nightly", "run", "--task", TASK)
    assert f"Night {NIGHT} is not over. Going on with it" in gone_on.err
    assert gone_on.code == 1
    InOrder(home).do("night.begin", asked(night="left"))
    assert "is not over" in type_("nightly", "run", "--task", TASK, "--queued").err
    assert "Night left has ended" in type_("nightly", "end", "left", "--why", "nobody wants it").out


def test_trials_that_a_machine_took_with_it_are_given_back(tmp_path: Path) -> None:
    """Those of a machine with a living worker, and of this one, are somebody's."""
    here, there, gone = f"{platform.node()}:1", "there:1", "gone:1"
    with Catalog(tmp_path / "catalog.db") as catalog:
        row = policy()
        catalog.add(REACH, row)
        catalog.arrive(WorkerRow(name="there", node="there", process=2))
        batch = Batch(id="one", task="reach", station="franka-sim", seed=0, planned=3)
        catalog.plan(batch, [Trial(batch="one", turn=turn, task="reach", policy=row.id) for turn in range(3)])
        for by in (here, there, gone):
            catalog.claim_trial("one", by)
        give_back(catalog, "one")
        assert [trial.claimed_by for trial in catalog.trials("one")] == [here, there, None]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_poison_that_no_record_gives_away_is_stopped_by_trials(tmp_path: Path) -> None:
    """Half of what is learned from shows another cube and pad, well driven, and nobody recorded the truth of it."""
    home = taught(tmp_path / "home", 20)
    assert night(Planted(home), asked(method="nearest", settings={}, night="first"))["decision"] == "promoted"
    with home.join() as catalog:
        catalog.add(Task(name="wrong", instruction="put the blue cube on the purple pad"))
    show(home, "wrong", 20)
    with home.join() as catalog:
        shown_wrong = [one.row.id for one in every(catalog, "wrong")]
    poison = [rewritten(home, key, without=("truth",), task=TASK) for key in shown_wrong]
    ended = night(InOrder(home), asked(settings={}, trials=12, workers=2, aside=0.1))
    with home.join() as catalog:
        found = morning.of(catalog, NIGHT)
        facts = catalog.night(NIGHT).facts
        learned = {*facts["snapshot"]["episodes"]} & {str(key) for key in poison}
    sys.stdout.write("\n" + json.dumps(morning.as_json(found), indent=1) + "\n")
    assert len(learned) > 10, "no gate before the trials knows of it"
    assert (ended["decision"], ended["gate"]) == ("kept", "night.decide")
    assert "decide: " in page_of(home)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_is_forgotten_of_an_earlier_task_is_measured(tmp_path: Path, shown: Home) -> None:
    """A policy learns one task, goes on to another, and a night goes on from there: the board has both."""
    home = copied(shown, tmp_path / "home")
    with home.join() as catalog:
        catalog.add(Task(name="earlier", instruction="put the blue cube on the purple pad"))
    show(home, "earlier", 5)
    how = learner("ccol", "tiny", {"steps": "300", "tracker": "none"})
    wait(home, demonstrations(home)[3:])
    first = train(home, "earlier", "ccol", "tiny", how, lambda _done, _of, _loss: None)
    second = train(home, TASK, "ccol", "tiny", how, lambda _done, _of, _loss: None, first.name)
    with home.join() as catalog:
        catalog.promote(second, "ada")
    wait(home, demonstrations_waiting(home), release=True)
    asked_so = asked(settings={"steps": "300"}, aside=share_of_one(home), keep=["earlier"], harm=10.0)
    night(Planted(home), asked_so)
    with home.join() as catalog:
        board = {one["what"]: one for one in catalog.night(NIGHT).facts["gates"]["board"]}
    sys.stdout.write("\n" + json.dumps(board, indent=1) + "\n")
    assert board.keys() == {TASK, "earlier"}
    assert board["earlier"]["guarded"]
    assert board["earlier"]["forgotten"] is not None
