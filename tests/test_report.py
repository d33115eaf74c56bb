"""A report claims what the trials support, and no more."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from PIL import Image

from ops.failures import judge
from ops.judging.judgement import Judgement
from ops.rates import mcnemar, tell_rate, wilson
from ops.report import as_json, summarize, text, write_page
from ops.rollout import plan, run
from storage import Batch, Catalog, Episode, EpisodeRow, Outcome, PolicyRow, StationRow, Task, Trial, Verdict, WorkOrder
from tests.takes import TASK, Take

SUCCESS = Judgement(Outcome.SUCCESS, None, None, (), {}, "S5")
KITCHEN = """[cell]
driver = "drivers.gymnasium.kitchen:GymKitchen"
"""
INVALID = Judgement(Outcome.INVALID, "S0", "ENV", (), {"why": "unplugged"}, "S0")


def failure(code: str, stage: str, *secondary: str) -> Judgement:
    return Judgement(Outcome.FAILURE, stage, code, secondary, {}, stage)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.add(Task(name="sort", instruction=TASK))
    return catalog


def policy(catalog: Catalog, name: str, task: str = "sort") -> PolicyRow:
    row = PolicyRow(name=name, method=name.split("-")[0], preset="tiny", task=task, path="-", digest="-")
    catalog.add(row)
    return row


def tried(
    catalog: Catalog, root: Path, policies: Sequence[PolicyRow], judge_trial: Callable[[str, int], Judgement], n: int
) -> Batch:
    """Run a batch in which the n-th start of a policy, in the order of seeds, is judged as given."""
    batch = plan(catalog, policies[0].task, policies, n, seed=1, station="franka-sim")
    names = {row.id: row.name for row in policies}
    starts = sorted({trial.condition["seed"] for trial in catalog.trials(batch.id)})

    def attempt(trial: Trial) -> tuple[UUID, Judgement]:
        return entered(catalog, root, trial), judge_trial(names[trial.policy], starts.index(trial.condition["seed"]))

    run(catalog, batch, attempt, "me", root)
    return batch


def entered(catalog: Catalog, root: Path, trial: Trial, take: Take | None = None) -> UUID:
    """Enter the episode of a trial; without a take it is in the catalog only."""
    sealed = take.record(root, camera=True) if take else None
    row = EpisodeRow(
        id=sealed.id if sealed else uuid4(),
        task=trial.task,
        agent="policy",
        path=str(sealed.path.relative_to(root)) if sealed else "episodes/elsewhere",
        digest=sealed.digest if sealed else "-",
        seconds=sealed.seconds if sealed else 0.0,
        started=datetime.now(UTC),
        policy=trial.policy,
    )
    catalog.add(row)
    return row.id


def test_intervals_are_the_ones_of_the_protocol() -> None:
    """With n = 20, 70 and 85 % have Wilson intervals 48-85 and 64-95."""
    assert wilson(14, 20) == pytest.approx((0.48, 0.85), abs=0.005)
    assert wilson(17, 20) == pytest.approx((0.64, 0.95), abs=0.005)
    assert tell_rate(14, 20) == "n=20: 70% [48, 85]"
    assert tell_rate(0, 0) == "n=0: no valid trial"
    with pytest.raises(ValueError, match="without a trial"):
        wilson(0, 0)


def test_paired_p_is_a_fair_coin_thrown_once_per_pair_that_differs() -> None:
    assert mcnemar(0, 0) == pytest.approx(1)
    assert mcnemar(3, 3) == pytest.approx(1)
    assert mcnemar(5, 0) == pytest.approx(2 * 0.5**5)
    assert mcnemar(1, 5) == pytest.approx(2 * (1 + 6) * 0.5**6)


def test_a_report_counts_what_was_judged(catalog: Catalog, tmp_path: Path) -> None:
    judgements = [SUCCESS, SUCCESS, failure("LOC", "S1"), failure("LOC", "S4"), failure("DROP", "S3"), INVALID]
    batch = tried(catalog, tmp_path, [policy(catalog, "ccol-1")], lambda _, n: judgements[n], 6)
    (one,) = summarize(catalog, "sort").policies
    assert (one.name, one.method, one.task, one.batch) == ("ccol-1", "ccol", "sort", batch.id)
    assert (one.trials, one.successes, one.invalid, one.unjudged) == (5, 2, 1, 0)
    assert one.success_rate == pytest.approx(0.4)
    assert one.interval == wilson(2, 5)
    assert one.failures == {"LOC": 2, "DROP": 1}
    assert one.stages == {"S1": 1, "S3": 1, "S4": 1}
    assert one.funnel == {"S1": 5, "S2": 4, "S3": 4, "S4": 3, "S5": 2}
    assert one.views == {
        "clap3": {"place": 2, "pick": 1},
        "clap10": {"dexterous": 3},
        "ccol6": {"localisation": 2, "contact": 1},
    }
    assert one.against_best is None


def test_without_a_valid_trial_there_is_no_rate(catalog: Catalog, tmp_path: Path) -> None:
    tried(catalog, tmp_path, [policy(catalog, "ccol-1"), policy(catalog, "act-1")], lambda *_: INVALID, 2)
    for one in summarize(catalog, "sort").policies:
        assert (one.success_rate, one.interval, one.against_best, one.invalid) == (None, None, None, 2)


def test_a_person_overrules_the_rules(catalog: Catalog, tmp_path: Path) -> None:
    batch = tried(catalog, tmp_path, [policy(catalog, "ccol-1")], lambda *_: SUCCESS, 2)
    episode = catalog.trials(batch.id)[0].episode
    assert episode is not None
    catalog.add(Verdict(episode=episode, by="ada", outcome=Outcome.FAILURE, failure="CON", stage="S2"))
    (one,) = summarize(catalog, "sort").policies
    assert (one.successes, one.failures, one.funnel["S2"], one.funnel["S3"]) == (1, {"CON": 1}, 2, 1)


def test_two_people_who_tagged_the_same_trials_are_compared(catalog: Catalog, tmp_path: Path) -> None:
    batch = tried(catalog, tmp_path, [policy(catalog, "ccol-1")], lambda *_: SUCCESS, 2)
    assert summarize(catalog, "sort").raters == (), "rules are nobody"
    for by, codes in (("bob", ("LOC", "CON")), ("ada", ("CON", "CON")), ("bob", ("LOC", "DROP"))):
        for trial, code in zip(catalog.trials(batch.id), codes, strict=True):
            assert trial.episode is not None
            catalog.add(Verdict(episode=trial.episode, by=by, outcome=Outcome.FAILURE, failure=code, stage="S2"))
    found = summarize(catalog, "sort")
    says = "ada and bob: the same tag in 0 of 2 trials, kappa 0.00; most often CON against DROP"
    assert says in text(found, 140)
    (raters,) = as_json(found)["raters"]
    assert (raters["one"], raters["other"], raters["says"]) == ("ada", "bob", says)
    assert says in write_page(found, tmp_path / "page", tmp_path).read_text()


def test_progress_is_shown_batch_by_batch_and_an_orders_own_batch_is_no_progress(
    catalog: Catalog, tmp_path: Path
) -> None:
    first, second = policy(catalog, "ccol-1"), policy(catalog, "ccol-2")
    early = tried(catalog, tmp_path, [first], lambda _, n: SUCCESS if n < 1 else failure("LOC", "S1"), 4)
    alone = summarize(catalog, "sort")
    assert "batch by batch" not in text(alone, 140), "one batch is no progress"
    order = catalog.order(WorkOrder(task="sort", wanted=1))
    again = plan(catalog, "sort", [first], 2, 1, "franka-sim", order=order.id)
    run(catalog, again, lambda trial: (entered(catalog, tmp_path, trial), SUCCESS), "me", tmp_path)
    late = tried(catalog, tmp_path, [first, second], lambda name, _: SUCCESS if name == "ccol-2" else INVALID, 4)
    found = summarize(catalog, "sort")
    assert [(at.batch, at.policy, at.successes, at.trials) for at in found.trend] == [
        (early.id, "ccol-1", 1, 4),
        (late.id, "ccol-1", 0, 0),
        (late.id, "ccol-2", 4, 4),
    ]
    assert [one.batch for one in found.policies] == [late.id, late.id], "what counts is the last"
    shown = text(found, 140)
    assert "batch by batch" in shown
    assert early.id in shown
    assert as_json(found)["trend"][0]["interval"] == wilson(1, 4)
    page = write_page(found, tmp_path / "page", tmp_path)
    assert "Success batch by batch" in page.read_text()
    assert (page.parent / "trend.png").stat().st_size > 1000


def test_overlapping_intervals_are_never_ranked(catalog: Catalog, tmp_path: Path) -> None:
    """Every pair that differs speaks for one policy, p = 0.03; the intervals still overlap."""
    policies = [policy(catalog, "ccol-1"), policy(catalog, "act-1")]
    tried(
        catalog,
        tmp_path,
        policies,
        lambda name, n: SUCCESS if name == "ccol-1" or n < 14 else failure("DROP", "S3"),
        20,
    )
    better, worse = summarize(catalog, "sort").policies
    assert better.against_best is not None
    assert worse.against_best is not None
    assert better.against_best.p == pytest.approx(2 * 0.5**6)
    assert better.against_best.says == "not distinguishable from act-1 (paired p = 0.031, 20 pairs)"
    assert worse.against_best.says == "not distinguishable from ccol-1 (paired p = 0.031, 20 pairs)"


def test_policies_far_apart_are_told_apart(catalog: Catalog, tmp_path: Path) -> None:
    policies = [policy(catalog, "ccol-1"), policy(catalog, "act-1")]
    tried(catalog, tmp_path, policies, lambda name, n: SUCCESS if name == "ccol-1" else failure("LOC", "S1"), 10)
    better, worse = summarize(catalog, "sort").policies
    assert better.against_best is not None
    assert worse.against_best is not None
    assert (better.against_best.only_this, better.against_best.only_other) == (10, 0)
    assert (
        better.against_best.says == "better than act-1 (paired p = 0.002, 10 pairs; better, however often one looked)"
    )
    assert worse.against_best.says == "worse than ccol-1 (paired p = 0.002, 10 pairs; worse, however often one looked)"


def test_only_starts_that_counted_for_both_are_pairs(catalog: Catalog, tmp_path: Path) -> None:
    policies = [policy(catalog, "ccol-1"), policy(catalog, "act-1")]
    tried(catalog, tmp_path, policies, lambda name, n: INVALID if (name, n) == ("act-1", 0) else SUCCESS, 4)
    first, _ = summarize(catalog, "sort").policies
    assert first.against_best is not None
    assert (first.trials, first.against_best.pairs, first.against_best.p) == (4, 3, 1.0)


def test_the_last_closed_batch_of_a_policy_counts(catalog: Catalog, tmp_path: Path) -> None:
    """And a policy tried alone, later, from the same starts, is still compared pair by pair."""
    one, two = policy(catalog, "ccol-1"), policy(catalog, "act-1")
    tried(catalog, tmp_path, [one], lambda *_: failure("LOC", "S1"), 3)
    tried(catalog, tmp_path, [one], lambda *_: SUCCESS, 4)
    tried(catalog, tmp_path, [two], lambda *_: SUCCESS, 4)
    first, second = summarize(catalog, "sort").policies
    assert (first.trials, first.successes, second.trials) == (4, 4, 4)
    assert first.against_best is not None
    assert first.against_best.pairs == 4


def test_an_open_batch_is_mentioned_but_not_counted(catalog: Catalog) -> None:
    batch = plan(catalog, "sort", [policy(catalog, "ccol-1")], 3, 1, "franka-sim")
    report = summarize(catalog, "sort")
    assert (report.policies, report.open_batches) == ((), {batch.id: (0, 3)})
    assert "0 of 3 trials done" in text(report, 100)


def test_all_tasks_can_be_reported_together_without_comparing_across_them(catalog: Catalog, tmp_path: Path) -> None:
    catalog.add(Task(name="stack", instruction="put the blue cube on the purple pad"))
    for task in ("sort", "stack"):
        tried(catalog, tmp_path, [policy(catalog, f"{task}-1", task)], lambda *_: SUCCESS, 2)
    report = summarize(catalog)
    assert [(one.task, one.against_best) for one in report.policies] == [("sort", None), ("stack", None)]
    assert "sort-1 (sort)" in text(report, 120)


def test_the_json_has_what_programs_read(catalog: Catalog, tmp_path: Path) -> None:
    tried(catalog, tmp_path, [policy(catalog, "ccol-1")], lambda _, n: SUCCESS if n else failure("LOC", "S1"), 2)
    found = json.loads(json.dumps(as_json(summarize(catalog, "sort"))))
    (one,) = found["policies"]
    assert {"id", "name", "method", "success_rate", "interval", "trials", "failures"} <= one.keys()
    assert (one["method"], one["success_rate"], one["trials"], one["failures"]) == ("ccol", 0.5, 2, {"LOC": 1})
    assert one["interval"] == pytest.approx(wilson(1, 2))
    assert {result["outcome"] for result in one["results"]} == {"success", "failure"}


@pytest.mark.parametrize("width", [60, 140])
def test_the_text_is_as_wide_as_it_is_told(catalog: Catalog, tmp_path: Path, width: int) -> None:
    tried(catalog, tmp_path, [policy(catalog, "ccol-1"), policy(catalog, "act-1")], lambda *_: SUCCESS, 2)
    lines = text(summarize(catalog, "sort"), width).splitlines()
    assert max(map(len, lines)) <= width
    assert "n=2: 100% [34, 100]" in re.sub(r"\s+", " ", " ".join(lines)) or width < 100


@pytest.fixture
def page(catalog: Catalog, tmp_path: Path) -> Path:
    """Write a page about two policies that were really recorded."""
    policies = [policy(catalog, "ccol-1"), policy(catalog, "<act>-1")]
    batch = plan(catalog, "sort", policies, 2, 1, "franka-sim")

    def attempt(trial: Trial) -> tuple[UUID, Judgement]:
        good = trial.policy == policies[0].id
        take = Take().carry("red_cube", "yellow_pad").wait(0.5) if good else Take().to("green_cube").close("green_cube")
        episode = entered(catalog, tmp_path, trial, take)
        return episode, judge(Episode(tmp_path / catalog.episode(episode).path), TASK)

    run(catalog, batch, attempt, "me", tmp_path)
    catalog.add(StationRow(digest="-", name="franka-sim", text=KITCHEN))
    return write_page(summarize(catalog, "sort"), tmp_path / "page", tmp_path)


def test_the_page_shows_every_policy_and_stands_alone(page: Path) -> None:
    html = page.read_text()
    assert "ccol-1" in html
    assert "&lt;act&gt;-1" in html
    assert "<act>" not in html
    assert "SEM-OBJ S1" in html
    sources = re.findall(r'(?:src|srcset|href)="([^"]*)"', html)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_what_papers_say_of_a_suite_stands_beside_ours_labelled(catalog: Catalog, page: Path) -> None:
    label = "as published: other demonstrations, other training and other trials than ours"
    report = summarize(catalog, "sort")
    rows = {(one["source"], one["method"]): one["success"] for one in as_json(report)["published"]}
    assert rows["CCoL, table 3", "CCoL, ViT-S"] == pytest.approx(68.9)
    assert label in text(report, 200)
    assert "68.9%" in text(report, 200)
    html = page.read_text()
    assert label in html
    assert "<td>CCoL, table 3</td><td>CCoL, ViT-S</td><td>68.9%</td>" in html
    assert label not in text(replace(report, published=()), 200)


def test_successes_that_lasted_are_counted_where_a_suite_counts_too(catalog: Catalog, tmp_path: Path) -> None:
    def judge_trial(_name: str, start: int) -> Judgement:
        return replace(SUCCESS, evidence={"lasted": start > 0}) if start < 3 else failure("CON", "S2")

    tried(catalog, tmp_path, [policy(catalog, "ccol-1")], judge_trial, 4)
    report = summarize(catalog, "sort")
    assert (report.policies[0].successes, report.policies[0].lasted) == (3, 2)
    assert "ccol-1: 2 of its 3 successes lasted by our own rules" in text(report)
    tried(catalog, tmp_path, [policy(catalog, "ccol-2")], lambda *_: SUCCESS, 1)
    assert summarize(catalog, "sort").policies[1].lasted is None


def test_pictures_lie_beside_the_page(page: Path) -> None:
    names = sorted(file.name for file in page.parent.glob("*.png"))
    plots = [f"{name}{dark}.png" for name in ("failures", "funnel", "starts", "success") for dark in ("-dark", "")]
    assert names == sorted([*plots, "failed-2-1.png", "failed-2-2.png"])
    for name in names:
        with Image.open(page.parent / name) as picture:
            assert min(picture.size) > 100, name


def test_a_page_without_its_recordings_still_shows_the_numbers(catalog: Catalog, tmp_path: Path) -> None:
    tried(catalog, tmp_path, [policy(catalog, "ccol-1")], lambda *_: failure("LOC", "S1"), 1)
    report = summarize(catalog, "sort")
    assert "LOC 1" in write_page(report, tmp_path / "page", tmp_path / "elsewhere").read_text()


def test_a_page_about_nothing_says_so(catalog: Catalog, tmp_path: Path) -> None:
    report = replace(summarize(catalog, "sort"), open_batches={"b": (1, 2)})
    html = write_page(report, tmp_path / "page", tmp_path).read_text()
    assert "No batch of trials has been closed yet" in html
    assert "1 of 2 trials done" in html
