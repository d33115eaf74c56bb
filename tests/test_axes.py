"""Axes: what trials vary beside their starts, how it is planned, told to the policy, and counted."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

import learners
from appliance import station
from appliance.begins import begins
from appliance.evaluate import Trying, evaluate, plan
from appliance.home import Home
from appliance.offers import scene
from appliance.station import StationError
from collectors import PolicyAgent
from drivers.twin import FrankaTable
from ops import axes, rollout
from ops.axes import AXES, ORIG, WORDS, NoSuchAxis, conditions, paraphrase, shown, split, told
from ops.by_axis import by_axis
from ops.judging.judgement import Judgement
from ops.report import as_json, summarize, text, write_page
from ops.results import PolicyReport, Taken, compare
from storage import Catalog, Episode, EpisodeRow, Outcome, PolicyRow, Task, Trial, Wanted
from tests.typed import Type

TASK = "put the red cube on the yellow pad"
SUCCESS = Judgement(Outcome.SUCCESS, None, None, (), {}, "S5")
MISSED = Judgement(Outcome.FAILURE, "S1", "LOC", (), {}, "S1")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.add(Task(name="sort", instruction=TASK))
    return catalog


def shown_so(catalog: Catalog, condition: dict[str, int], policy: UUID | None = None) -> EpisodeRow:
    """Enter an episode that began so."""
    row = EpisodeRow(
        id=uuid4(),
        task="sort",
        agent="scripted" if policy is None else "policy",
        path="-",
        digest=uuid4().hex,
        seconds=1,
        started=datetime.now(UTC),
        condition=condition,
        policy=policy,
    )
    catalog.add(row)
    return row


def policy(catalog: Catalog, name: str, *learned: dict[str, int], parent: UUID | None = None) -> PolicyRow:
    """Enter a policy that learned from episodes that began so."""
    ids = {shown_so(catalog, condition).id for condition in learned}
    listed = [one for one in catalog.find(Wanted(task="sort")) if one.row.id in ids]
    frozen = catalog.snapshot("sort", listed) if listed else None
    row = PolicyRow(
        name=name,
        method="ccol",
        task="sort",
        path="-",
        digest="-",
        snapshot=None if frozen is None else frozen.id,
        parent=parent,
    )
    catalog.add(row)
    return row


def tried(
    catalog: Catalog, root: Path, policies: list[PolicyRow], vary: tuple[str, ...], hard: str = "", n: int = 4
) -> None:
    """Run a batch in which all trials succeed but those along one axis."""
    batch = rollout.plan(catalog, "sort", policies, n, 1, "franka-sim", vary)

    def attempt(trial: Trial) -> tuple[UUID, Judgement]:
        row = shown_so(catalog, trial.condition, trial.policy)
        return row.id, MISSED if hard in trial.condition else SUCCESS

    rollout.run(catalog, batch, attempt, "me", root)


def test_every_axis_of_the_protocol_is_there_and_the_twin_varies_all_of_the_scenes() -> None:
    """The ids of methods.md 5.3, in their order."""
    assert [ORIG, *AXES][:5] == ["orig", "background", "lighting", "camera", "distractor"]
    assert [*AXES][4:] == ["novel_instance", "size_shift", "start_shift", "instruction_paraphrase"]
    assert FrankaTable().axes == {*AXES} - {WORDS}


def test_each_axis_gets_as_many_trials_from_the_same_starts_for_every_policy(catalog: Catalog) -> None:
    policies = [policy(catalog, name) for name in ("ccol-1", "act-1")]
    usual = rollout.plan(catalog, "sort", policies, 5, 3, "franka-sim")
    varied = rollout.plan(catalog, "sort", policies, 5, 3, "franka-sim", ("lighting", WORDS))
    assert varied.planned == 30
    starts = {trial.condition["seed"] for trial in catalog.trials(usual.id)}
    for one in policies:
        mine = [trial.condition for trial in catalog.trials(varied.id) if trial.policy == one.id]
        for axis in (ORIG, "lighting", WORDS):
            assert {each["seed"] for each in mine if axes.name(each) == axis} == starts
        assert sorted(map(str, mine)) == sorted(
            str(trial.condition) for trial in catalog.trials(varied.id) if trial.policy != one.id
        )
    order = [axes.name(trial.condition) for trial in catalog.trials(varied.id)]
    assert order != sorted(order, key=order.index), "the axes come one after the other"


def test_variants_are_drawn_by_the_seed_without_repeats_and_are_not_those_of_demonstrations() -> None:
    drawn = [one["camera"] for one in conditions(("camera",), 5, 120)["camera"]]
    assert len(set(drawn[:100])) == 100
    assert drawn[100:] == drawn[:20]
    assert drawn == [one["camera"] for one in conditions(("lighting", "camera"), 5, 120)["camera"]]
    assert drawn != [one["camera"] for one in conditions(("camera",), 6, 120)["camera"]]
    assert {*drawn} == {*range(1, 101)}
    of_demonstrations = [shown(("camera", "lighting"), start) for start in range(500)]
    assert [next(iter(one)) for one in of_demonstrations[:4]] == ["camera", "lighting"] * 2
    assert {number for one in of_demonstrations for number in one.values()} == {*range(101, 201)}
    assert shown((), 7) == {}


def test_what_cannot_be_varied_is_refused_with_what_can() -> None:
    assert axes.chosen(["all"], {"camera", "lighting"}, "here") == ("lighting", "camera", WORDS)
    with pytest.raises(NoSuchAxis, match=f"bench cannot vary wind, camera; it can vary lighting, {WORDS}"):
        axes.chosen(["wind", "lighting", "camera"], {"lighting"}, "bench")
    with pytest.raises(NoSuchAxis, match="lighting came more than once"):
        axes.chosen(["lighting", "lighting"], AXES, "bench")
    with pytest.raises(StationError, match=f"aloha-sim cannot vary lighting; it can vary {WORDS}"):
        station.load("aloha-sim").vary(["lighting"])


def test_a_person_can_vary_anything_and_is_told_how() -> None:
    assert station.load("franka").vary(["all"]) == tuple(AXES)
    assert (
        scene({"red_cube": "left", "background": 3}) == "red_cube left, background 3 (lay another cloth on the table)"
    )
    assert scene({}) == "as you like"


def test_the_same_is_said_in_other_words_and_never_to_both_demonstrations_and_trials() -> None:
    trials = [paraphrase(TASK, number) for number in range(1, 101)]
    demonstrations = [paraphrase(TASK, number) for number in range(101, 201)]
    assert len({*trials, *demonstrations, TASK}) == 201
    for said in (*trials, *demonstrations):
        assert "the red cube" in said
        assert "the yellow pad" in said
    assert paraphrase(TASK, 201) == trials[0]
    assert paraphrase("put the peg into the socket", 1) == "place the peg into the socket"
    assert paraphrase("hand the cube to the other arm", 1) == "please hand the cube to the other arm"
    assert told(TASK, {"seed": 1}) == TASK
    assert told(TASK, {"seed": 1, WORDS: 2}) == trials[1]
    with pytest.raises(ValueError, match="1 or more, not 0"):
        paraphrase(TASK, 0)


def test_words_are_nothing_to_set_on_a_table() -> None:
    condition = {"seed": 3, "lighting": 2, WORDS: 4}
    assert axes.of_scene(condition) == {"seed": 3, "lighting": 2}
    here = begins(station.load("franka-sim"), condition, TASK)
    usual = begins(station.load("franka-sim"), {"seed": 3}, TASK)
    assert here == {**usual, "lighting": "lighting", WORDS: WORDS}


def test_what_was_varied_in_what_was_learned_is_seen() -> None:
    assert split({"seed": 1}, ()) == "seen"
    assert split({"seed": 1, "lighting": 1}, {"camera"}) == "ood"
    assert split({"seed": 1, "lighting": 1}, {"lighting"}) == "seen"
    assert split({"seed": 1, "lighting": 1, "camera": 2}, {"lighting"}) == "ood"


def test_a_report_counts_every_axis_apart_with_its_split(catalog: Catalog, tmp_path: Path) -> None:
    knows = policy(catalog, "ccol-1", {"seed": 1}, {"seed": 2, "lighting": 101})
    child = policy(catalog, "ccol-2", {"seed": 3}, parent=knows.id)
    other = policy(catalog, "act-1", {"seed": 4, "camera": 101})
    tried(catalog, tmp_path, [knows, child, other], ("camera", "lighting"), hard="lighting", n=6)
    report = summarize(catalog, "sort")
    for one in report.policies:
        assert [on.axis for on in one.axes] == [ORIG, "lighting", "camera"], "in the order of the protocol"
        assert [(on.trials, on.successes, on.pairs) for on in one.axes] == [(6, 6, 0), (6, 0, 6), (6, 6, 6)]
        assert [on.p for on in one.axes] == [None, pytest.approx(2 * 0.5**6), pytest.approx(1)]
        assert one.axes[1].interval == pytest.approx((0.0, 0.39), abs=0.005)
        assert one.axes[1].says == "n=6: 0% [0, 39], against orig paired p = 0.031, 6 pairs"
    splits = {one.name: [on.split for on in one.axes] for one in report.policies}
    assert splits == {
        "ccol-1": ["seen", "seen", "ood"],
        "ccol-2": ["seen", "seen", "ood"],
        "act-1": ["seen", "ood", "seen"],
    }
    assert re.search(r"ccol-1 +lighting +seen +n=6: 0% \[0, 39\]", text(report, 120))
    assert as_json(report)["policies"][0]["axes"][1]["split"] == "seen"
    alone = replace(report, policies=report.policies[:1])
    assert "By what was varied" in write_page(alone, tmp_path / "page", tmp_path).read_text()
    assert (tmp_path / "page" / "axes.png").stat().st_size > 5000


def test_without_axes_nothing_is_said_of_them(catalog: Catalog, tmp_path: Path) -> None:
    tried(catalog, tmp_path, [policy(catalog, "ccol-1", {"seed": 1})], ())
    report = summarize(catalog, "sort")
    assert [on.axis for on in report.policies[0].axes] == [ORIG]
    assert "varied" not in text(report, 120)


def taken(condition: dict[str, int], outcome: Outcome | None) -> Taken:
    return Taken(uuid4(), "-", condition, outcome, None, None, (), "S1", None)


def test_what_is_invalid_or_unjudged_on_an_axis_counts_for_nothing() -> None:
    outcomes = [Outcome.SUCCESS, Outcome.INVALID, None]
    usual = [taken({"seed": n}, Outcome.SUCCESS) for n in range(3)]
    (orig, camera) = by_axis([*usual, *(taken({"seed": n, "camera": 1}, o) for n, o in enumerate(outcomes))], ())
    assert (orig.trials, orig.invalid) == (3, 0)
    assert (camera.trials, camera.successes, camera.invalid, camera.pairs) == (1, 1, 1, 1)
    (none,) = by_axis([taken({"camera": 1}, Outcome.INVALID)], ())
    assert (none.success_rate, none.interval, none.p, none.says) == (None, None, None, "n=0: no valid trial")


def test_who_was_tried_on_harder_tables_is_not_called_worse(catalog: Catalog, tmp_path: Path) -> None:
    """Both always succeed on the usual table; one was also tried where it never did, from other starts."""
    one, other = policy(catalog, "ccol-1"), policy(catalog, "act-1")
    tried(catalog, tmp_path, [one], ("lighting",), hard="lighting", n=10)
    tried(catalog, tmp_path, [other], (), n=10)
    mine, theirs = summarize(catalog, "sort").policies
    assert (mine.success_rate, theirs.success_rate) == (0.5, 1.0)
    elsewhere = replace(
        theirs, taken=tuple(replace(t, condition={"seed": t.condition["seed"] + 1}) for t in theirs.taken)
    )
    assert not compare(mine, elsewhere).distinguishable
    assert mine.against_best is not None
    assert not mine.against_best.distinguishable
    failed = replace(mine, taken=tuple(replace(t, outcome=Outcome.FAILURE) for t in mine.taken))
    assert compare(failed, elsewhere).distinguishable, "on the usual table, too"


def test_a_start_that_is_varied_often_is_still_one_start(catalog: Catalog, tmp_path: Path) -> None:
    """24 conditions, in all of which one succeeds and the other fails, are three pairs and decide nothing."""
    tried(catalog, tmp_path, [policy(catalog, "ccol-1"), policy(catalog, "act-1")], (), n=1)
    one, other = summarize(catalog, "sort").policies
    varied = [{"seed": k % 3} | ({axis: k} if axis != ORIG else {}) for axis in (ORIG, *AXES) for k in range(3)]

    def so(report: PolicyReport, succeeded: Sequence[bool]) -> PolicyReport:
        each = zip(varied, succeeded, strict=True)
        said = {True: Outcome.SUCCESS, False: Outcome.FAILURE}
        return replace(report, taken=tuple(replace(report.taken[0], condition=c, outcome=said[s]) for c, s in each))

    always, never = [True] * len(varied), [False] * len(varied)
    found = compare(so(one, always), so(other, never))
    assert (found.pairs, found.only_this, found.only_other, found.p) == (3, 3, 0, 0.25)
    assert (found.distinguishable, found.decided) == (False, "open")
    first = [k < 3 for k in range(len(varied))]
    found = compare(so(one, first), so(other, [not each for each in first]))
    assert (found.only_this, found.only_other) == (0, 3), "in all but one of the conditions of each start"
    varied = [{"seed": k % 9} | ({"lighting": k} if k > 8 else {}) for k in range(27)]
    first = [k < 9 for k in range(len(varied))]
    found = compare(so(one, first), so(other, [not each for each in first]))
    assert (found.only_this, found.only_other, found.decided) == (0, 9, "better"), "what came first decides"


def test_a_batch_along_what_does_not_exist_is_not_written_down(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="a trial cannot vary wind; it can vary background"):
        rollout.plan(catalog, "sort", [policy(catalog, "ccol-1")], 2, 1, "franka-sim", ("lighting", "wind"))
    assert catalog.batches() == []


def report_of(catalog: Catalog) -> PolicyReport:
    (one,) = summarize(catalog, "pick_place").policies
    return one


def test_from_demonstrations_to_the_report(appliance: Type, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy learns from and hears other words; the record tells both, and which axes the policy was shown."""
    heard: list[str] = []
    windows, reset = learners.windows, PolicyAgent.reset

    def reading(how: Any, episodes: Any, instructions: Sequence[str], *more: Any) -> Any:
        heard.extend(instructions)
        return windows(how, episodes, instructions, *more)

    def listening(agent: PolicyAgent, instruction: str) -> None:
        heard.extend([instruction] if instruction else [])
        reset(agent, instruction)

    monkeypatch.setattr(learners, "windows", reading)
    monkeypatch.setattr(PolicyAgent, "reset", listening)
    task = ("--task", "pick_place")
    said = appliance("collect", *task, "--axes", "wind")
    assert (said.code, "franka-sim cannot vary wind" in said.err) == (1, True)
    said = appliance("collect", *task, "--episodes", "2", "--seed", "0", "--axes", f"{WORDS},size_shift")
    assert (said.code, said.out) == (0, "2 of 2 succeeded.\n"), said.err
    assert appliance("train", *task, "--method", "nearest").code == 0
    assert heard == [paraphrase(TASK, 101), TASK]
    heard.clear()
    said = appliance("evaluate", *task, "--policy", "nearest-1", "--axes", "wind")
    assert said.code == 1
    assert "franka-sim cannot vary wind; it can vary background, lighting" in said.err
    here = Home(home, str(home / "catalog.db"))
    with here.join() as catalog:
        assert catalog.batches() == [], "something was written"
        demonstrations = [one.row.condition for one in catalog.find(Wanted(task="pick_place"))]
        assert demonstrations == [{"seed": 0, WORDS: 101}, {"seed": 1, "size_shift": 101}]
    batch, _ = plan(here, "pick_place", ["nearest-1"], 1, 0, "franka-sim", vary=(WORDS, "camera"))
    assert evaluate(Trying(here, batch.id, "franka-sim", limit=0.5), 1, lambda _turn: None)
    with here.join() as catalog:
        assert {on.axis: on.split for on in report_of(catalog).axes} == {ORIG: "seen", "camera": "ood", WORDS: "seen"}
        for trial in catalog.trials(batch.id):
            assert trial.episode is not None
            record = Episode(home / catalog.episode(trial.episode).path).attributes
            assert record["condition"] == trial.condition
            assert record["instruction"] == TASK
            words = paraphrase(TASK, trial.condition[WORDS]) if WORDS in trial.condition else None
            assert record["told"] == words
            assert heard.pop(0) == (words or TASK)
            assert catalog.verdicts(trial.episode)[0].outcome is Outcome.FAILURE, "judged by the task's own words"
