"""Nights that need nobody: rows of each, whatever kills them on the way; and, slowly, that success rises."""

import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from appliance import five_nights
from appliance.five_nights import BIASED, QUICK, USUAL, Length
from appliance.home import Home
from appliance.night_asked import candidate
from ops import rising
from ops.rates import exact
from storage import Wanted
from tests.homes import opened
from tests.typed import Type

torch.set_num_threads(1)

SHORT = replace(QUICK, nights=2, workers=1)


class Killed(BaseException):
    """The program is gone."""


def go(home: Home, length: Length, killed_at: tuple[str, int] | None = None) -> None:
    """Have nights; or be killed as so many of something were told of."""
    told: dict[str, int] = {}

    @contextmanager
    def progress(what: str, _total: int | None) -> Generator[Callable[..., None]]:
        def advance(says: str, _done: int | None = None, _of: int | None = None) -> None:
            name = says.partition(", loss")[0] if what.startswith(length.task) else what
            told[name] = told.get(name, 0) + 1
            if (name, told[name]) == killed_at:
                raise Killed

        yield advance

    with home.open(lambda _said: None) as catalog:
        five_nights.nights(home, catalog, length, lambda _said: None, progress, lambda _shown: None)


def rows(home: Home, length: Length) -> dict[str, Any]:
    """What the nights leave behind."""
    with home.join() as catalog:
        nights = catalog.nights(length.task)
        found = catalog.find(Wanted(task=length.task))
        return {
            "rising": rising.as_json(rising.of(catalog, length.task)),
            "nights": [(row.id, row.decision, row.why, row.candidate) for row in nights],
            "policies": [(one.id, one.name, one.digest) for one in catalog.policies(length.task)],
            "shown": sorted((one.row.order, one.row.condition["seed"]) for one in found if one.row.agent == "scripted"),
            "orders": [
                (one.wanted, one.part, one.why, one.closed is not None) for one in catalog.orders(length.task, None)
            ],
            "batches": sorted((one.id, one.planned, one.closed is not None) for one in catalog.batches(length.task)),
        }


def test_an_exact_interval_is_that_of_clopper_and_pearson() -> None:
    assert list(exact(0, 10)) == pytest.approx([0, 1 - 0.025**0.1])
    assert list(exact(10, 10)) == pytest.approx([0.025**0.1, 1])
    with pytest.raises(ValueError, match="without a trial"):
        exact(0, 0)


@pytest.mark.slow
def test_two_tiny_nights_go_by_themselves_and_leave_their_rows(appliance: Type, home: Path) -> None:
    """All it takes is one line; what fails is ordered, and shown on the next day."""
    said = appliance("demo", "--nights", "2", "--quick", "--workers", "1")
    assert said.code == 0, said.err
    folder = Home(home, str(home / "catalog.db"))
    with folder.join() as catalog:
        first, second = catalog.nights(QUICK.task)
        assert [row.decision in {"kept", "promoted"} for row in (first, second)] == [True, True]
        assert [row.candidate for row in (first, second)] == [candidate(row.id) for row in (first, second)]
        biased, ordered = catalog.orders(QUICK.task, None)[:2]
        assert (biased.part, biased.evidence) == (BIASED.facts, {})
        assert ordered.evidence["batch"] == first.batch, (
            "orders follow from the night's trials, and never from the exam's"
        )
        assert [catalog.order_progress(one.id) for one in (biased, ordered)] == [QUICK.first, QUICK.wanted]
        assert None not in {biased.closed, ordered.closed}
        found = rising.of(catalog, QUICK.task)
    one, two = found.steps
    assert (one.shown[0].shown, two.shown[0].shown) == (QUICK.first, QUICK.wanted)
    assert two.learned > one.learned > 0
    for step in (one, two):
        assert step.candidate is not None
        assert step.candidate.trials == QUICK.exam
        assert step.candidate.interval == exact(step.candidate.successes, QUICK.exam)
    page = home / "reports" / "nights" / QUICK.task / "nights.html"
    assert "data:image/png;base64," in page.read_text()
    assert page.with_name("nights.png").stat().st_size > 1000
    assert f"{QUICK.first} right third" in said.out
    assert json.loads(page.with_name("nights.json").read_text())["steps"][1]["learned"] == two.learned
    again = appliance("demo", "--nights", "2", "--quick", "--workers", "1")
    assert "fixed starts" not in again.err, "what was done is not done again"
    other = appliance("demo", "--nights", "2", "--quick", "--workers", "1", "--steps", "7")
    assert other.code == 1
    assert "was begun with settings {'steps': '6'" in other.err
    with folder.join() as catalog:
        assert rising.of(catalog, QUICK.task) == found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_anywhere_the_nights_leave_the_same_rows(tmp_path: Path) -> None:
    """Killed during demonstrations, training, trials and the exam, and asked again, it ends as if nothing had been."""
    quiet, disturbed = (opened(tmp_path / name) for name in ("quiet", "disturbed"))
    go(quiet, SHORT)
    for moment in (("demonstrations", 2), ("training ccol", 3), ("trials", 2), ("fixed starts", 1), ("trials", 3)):
        with pytest.raises(Killed):
            go(disturbed, SHORT, moment)
    go(disturbed, SHORT)
    assert rows(disturbed, SHORT) == rows(quiet, SHORT)


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_five_nights_of_their_own_raise_success_from_below_40_to_above_80_percent(tmp_path: Path) -> None:
    """Shown a third of the table; what the nights order is shown; the fixed starts see none of it."""
    home = opened(tmp_path)
    go(home, replace(USUAL, seed=1))
    with home.join() as catalog:
        found = rising.of(catalog, replace(USUAL, seed=1).task)
    first, last = found.steps[0].candidate, found.steps[-1].champion
    said = [f"{step.night}: {step.candidate and step.candidate.says}, {step.decision}" for step in found.steps]
    sys.stdout.write("\n".join(["", *said, found.overall, json.dumps(rising.as_json(found)), ""]))
    assert first is not None
    assert last is not None
    assert first.successes / first.trials < 0.4
    assert last.successes / last.trials > 0.8
    assert last.interval[0] > first.interval[1]
