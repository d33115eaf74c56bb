"""Every failure at ALOHA's table has a name, found from rows alone."""

from pathlib import Path
from typing import Self

import numpy as np
import pytest

from collectors.bimanual import FEET, on_table
from collectors.scripted import Unclear
from drivers import Rows, row_type
from ops.failures import finished, judge
from ops.judging.aloha import VERSION, judge_rows
from ops.judging.judgement import Judgement
from storage import Episode, EpisodeWriter, Observation, Outcome

HANDOVER, INSERT = "hand the cube to the other arm", "put the peg into the socket"
ARM = row_type(("dq", "<f8", (12,)), ("tool", "<f8", (14,)), ("width", "<f8", (2,)), ("q_target", "<f8", (12,)))
LEFT, RIGHT = 0, 1
HZ = 50


class Take:
    """A take made by hand: say what both arms do, in order. Every move returns the take."""

    def __init__(self, **things: tuple[float, float]) -> None:
        self.at = {name: np.array([*xy, 0.02]) for name, xy in (things or {"cube": (0.1, 0.5)}).items()}
        self.tools = np.array([[-0.2, 0.5, 0.3], [0.2, 0.5, 0.3]])
        self.width = np.array([0.079, 0.079])
        self.stage, self.grips, self.speed = 0, dict[int, str](), 0.0
        self._truth: list[tuple[object, ...]] = []
        self._arm: list[tuple[object, ...]] = []
        self._row()

    def go(self, arm: int, x: float, y: float, z: float, seconds: float = 0.6) -> Self:
        """Move a tool in a straight line, with whatever it grips."""
        for step in np.linspace(self.tools[arm], (x, y, z), round(seconds * HZ) + 1)[1:]:
            if arm in self.grips:
                self.at[self.grips[arm]] += step - self.tools[arm]
            self.tools[arm] = step
            self._row()
        return self

    def fetch(self, arm: int, name: str, dx: float = 0.0) -> Self:
        """Go to an object and close the fingers; on it, unless they are ``dx`` beside it."""
        x, y, z = self.at[name]
        self.go(arm, x + dx, y, z).close(arm, None if dx else name)
        return self

    def close(self, arm: int, on: str | None = None) -> Self:
        for width in np.linspace(self.width[arm], 0.04 if on else 0.0, 11)[1:]:
            self.width[arm] = width
            self._row()
        if on:
            self.grips[arm] = on
        return self

    def open(self, arm: int) -> Self:
        """Let go. What nobody else holds falls."""
        name = self.grips.pop(arm, None)
        if name and name not in self.grips.values():
            self._falls(name)
        for width in np.linspace(self.width[arm], 0.079, 11)[1:]:
            self.width[arm] = width
            self._row()
        return self

    def slip(self, arm: int) -> Self:
        """Lose what is gripped: the fingers close, it falls."""
        self._falls(self.grips.pop(arm))
        return self.close(arm)

    def now(self, stage: int, seconds: float = 0.0) -> Self:
        """From now on gym-aloha counts this stage."""
        self.stage = stage
        return self.wait(seconds)

    def wait(self, seconds: float) -> Self:
        for _ in range(round(seconds * HZ)):
            self._row()
        return self

    def shake(self, seconds: float) -> Self:
        """A joint swings to and fro, 5 times a second."""
        for row in range(round(seconds * HZ)):
            self.speed = 1.0 if row % 10 < 5 else -1.0
            self._row()
        self.speed = 0.0
        return self

    def truth(self) -> Rows:
        things = [(name, "<f8", (7,)) for name in self.at]
        return np.array(self._truth, row_type(*things, ("stage", "<i4")))

    def arm(self) -> Rows:
        return np.array(self._arm, ARM)

    def seen(self) -> Observation:
        return Observation(0, {"truth": self.truth()[-64:], "arm": self.arm()[-64:]})

    def _falls(self, name: str) -> None:
        self.at[name][2], self.stage = 0.02, 0

    def _row(self) -> None:
        t = 1_000_000_000 + len(self._truth) * 1_000_000_000 // HZ
        self._truth.append((t, *((*at, 1.0, 0.0, 0.0, 0.0) for at in self.at.values()), self.stage))
        own = self.tools - FEET
        own[1, :2] *= -1
        tool = np.concatenate([own, np.tile([1.0, 0.0, 0.0, 0.0], (2, 1))], axis=1).ravel()
        self._arm.append((t, (self.speed, *(0.0,) * 11), tool, self.width.copy(), np.zeros(12)))


def lifted(seconds: float = 0.6) -> Take:
    """The right arm has the cube in the air."""
    return Take().fetch(RIGHT, "cube").now(1).now(2).go(RIGHT, 0.0, 0.5, 0.25).wait(seconds)


def reached() -> Take:
    """The left arm has its fingers round the cube, too."""
    return lifted().go(LEFT, 0.0, 0.5, 0.25).close(LEFT, "cube").now(4)


def given() -> Take:
    return reached().open(RIGHT).go(RIGHT, 0.1, 0.5, 0.25)


def inserting() -> Take:
    """Both parts are in the air."""
    take = Take(peg=(0.15, 0.5), socket=(-0.15, 0.5)).fetch(RIGHT, "peg").fetch(LEFT, "socket").now(1).now(2)
    return take.go(RIGHT, 0.1, 0.5, 0.15).go(LEFT, -0.1, 0.5, 0.15).wait(0.3)


def judged(take: Take) -> Judgement:
    return judge_rows(take.truth(), take.arm(), HANDOVER if "cube" in take.at else INSERT)


def named(take: Take) -> tuple[str | None, str | None]:
    """Judge a failed take; return its code and stage."""
    judgement = judged(take)
    assert judgement.outcome is Outcome.FAILURE, judgement
    assert judgement.reached == judgement.stage
    return judgement.code, judgement.stage


def test_a_cube_in_the_left_hand_alone_is_a_success() -> None:
    take = given().wait(0.5)
    judgement = judged(take)
    assert (judgement.outcome, judgement.code, judgement.reached) == (Outcome.SUCCESS, None, "S5")
    assert judgement.evidence["rules"] == VERSION
    assert finished(take.seen(), HANDOVER)


def test_a_peg_in_its_socket_is_a_success() -> None:
    take = inserting().go(RIGHT, 0.035, 0.5, 0.15).now(3).now(4, 0.5)
    assert judged(take).outcome is Outcome.SUCCESS
    assert finished(take.seen(), INSERT)


def test_contacts_that_flicker_never_went() -> None:
    take = given().wait(0.2).now(0, 0.06).now(4, 0.2)
    assert judged(take).outcome is Outcome.SUCCESS
    assert judged(given().wait(0.2).now(0, 0.16).now(4, 0.1)).outcome is Outcome.FAILURE


def test_it_has_to_last() -> None:
    take = inserting().go(RIGHT, 0.035, 0.5, 0.15).now(3).now(4, 0.2)
    assert named(take) == ("TIME", "S5")
    assert not finished(take.seen(), INSERT)


def test_as_long_as_both_hold_it_is_not_given() -> None:
    take = reached().wait(1.0)
    assert named(take) == ("TIME", "S4")
    assert not finished(take.seen(), HANDOVER)


def test_arms_that_stay_away_made_no_attempt() -> None:
    assert named(Take().wait(2.0)) == ("SEM-IDLE", "S1")


def test_an_arm_that_is_on_its_way_ran_out_of_time() -> None:
    assert named(Take().wait(1.0).go(RIGHT, 0.12, 0.5, 0.1)) == ("TIME", "S1")


def test_closing_beside_the_object_is_a_miss() -> None:
    take = Take().fetch(RIGHT, "cube", dx=0.05).go(RIGHT, 0.1, 0.5, 0.3)
    assert named(take) == ("LOC", "S1")
    assert judged(take).evidence["distance"] == pytest.approx(0.05)
    insertion = Take(peg=(0.15, 0.5), socket=(-0.15, 0.5)).fetch(RIGHT, "peg").go(RIGHT, 0.1, 0.5, 0.15)
    assert judged(insertion.fetch(LEFT, "socket", dx=-0.04)).evidence["object"] == "socket"


def test_touched_and_not_grasped_is_a_contact_failure() -> None:
    take = Take().fetch(RIGHT, "cube").now(1, 0.2).open(RIGHT).now(0).go(RIGHT, 0.1, 0.5, 0.3).wait(1.2)
    assert named(take) == ("CON", "S2")


def test_held_low_is_not_lifted() -> None:
    take = Take().fetch(RIGHT, "cube").now(2).go(RIGHT, 0.1, 0.5, 0.03).wait(1.5)
    assert named(take) == ("LIFT", "S2")


@pytest.mark.parametrize(
    ("take", "named_so"),
    [
        (lifted().slip(RIGHT).wait(1.2), ("DROP", "S3")),
        (lifted().open(RIGHT).wait(1.2), ("KIN", "S3")),
        (reached().wait(0.1).slip(LEFT).open(RIGHT).wait(1.2), ("DROP", "S4")),
        (given().wait(0.2).slip(LEFT).wait(1.2), ("DROP", "S5")),
        (inserting().slip(LEFT).wait(1.2), ("DROP", "S3")),
        (inserting().go(RIGHT, 0.06, 0.5, 0.15).now(3, 0.2).slip(LEFT).wait(1.2), ("DROP", "S4")),
    ],
    ids=["on the way", "let go too early", "while it changes hands", "at the end", "socket", "while it goes in"],
)
def test_what_falls_is_dropped_where_it_falls_and_hands_out_of_step_are_told(
    take: Take, named_so: tuple[str, str]
) -> None:
    assert named(take) == named_so


def test_the_other_hand_may_miss_too() -> None:
    take = lifted().go(LEFT, -0.06, 0.5, 0.25).close(LEFT).wait(1.2)
    assert named(take) == ("LOC", "S3")


def test_an_other_hand_that_never_comes_is_idle() -> None:
    assert named(lifted(2.0)) == ("SEM-IDLE", "S3")


def test_a_peg_that_stops_at_the_rim_was_not_exact() -> None:
    assert named(inserting().go(RIGHT, 0.06, 0.5, 0.15).now(3, 1.5)) == ("PREC", "S4")


def test_a_fall_that_was_made_good_is_kept_as_overcome() -> None:
    take = lifted().slip(RIGHT).open(RIGHT).fetch(RIGHT, "cube").now(2).go(RIGHT, 0.0, 0.5, 0.25).wait(0.6)
    take.go(LEFT, 0.0, 0.5, 0.25).close(LEFT, "cube").now(4).open(RIGHT).go(RIGHT, 0.1, 0.5, 0.25).wait(0.5)
    judgement = judged(take)
    assert (judgement.outcome, judgement.secondary) == (Outcome.SUCCESS, ("recovered:DROP",))


def test_an_arm_that_shakes_explains_what_does_not_get_on() -> None:
    judgement = judged(lifted().shake(3.0).wait(1.5))
    assert (judgement.code, judgement.stage, judgement.evidence["instead_of"]) == ("KIN", "S3", "SEM-IDLE")


def test_an_arm_that_shook_in_a_stage_that_it_passed_explains_nothing_later() -> None:
    judgement = judged(Take().shake(1.5).fetch(RIGHT, "cube").now(2).go(RIGHT, 0.0, 0.5, 0.25).wait(2.5))
    assert (judgement.code, judgement.stage, judgement.secondary) == ("SEM-IDLE", "S3", ("KIN",))


def test_what_falls_long_after_an_arm_shook_fell_by_itself() -> None:
    assert named(lifted().shake(1.0).wait(2.5).slip(RIGHT).wait(0.5)) == ("DROP", "S3")
    assert named(lifted().shake(2.0).slip(RIGHT).wait(0.5)) == ("KIN", "S3")


@pytest.mark.parametrize("instruction", ["put the red cube on the yellow pad", INSERT, ""])
def test_another_tables_instruction_is_unclear_here(instruction: str) -> None:
    with pytest.raises(Unclear, match="hand the cube to the other arm"):
        judge_rows(lifted().truth(), lifted().arm(), instruction)


def test_a_record_with_a_hole_tells_nothing(tmp_path: Path) -> None:
    take = given().wait(0.5)
    keep = np.abs(take.truth()["t"] - take.truth()["t"][40]) > 200_000_000
    judgement = judge_rows(take.truth()[keep], take.arm(), HANDOVER)
    assert (judgement.outcome, judgement.code) == (Outcome.INVALID, "ENV")
    assert "truth is silent" in judgement.evidence["why"]


def test_the_truth_says_which_rules_judge_an_episode(tmp_path: Path) -> None:
    take = given().wait(0.5)
    with EpisodeWriter(tmp_path, {"truth": take.truth().dtype, "arm": ARM}, {"task": "transfer"}) as writer:
        writer.append("truth", take.truth())
        writer.append("arm", take.arm())
        sealed = writer.seal({"ended_by": "done"})
    assert judge(Episode(sealed.path), HANDOVER).evidence["rules"] == VERSION


def test_tools_are_told_from_each_foot_and_compared_on_the_table() -> None:
    tools = np.zeros((1, 14))
    tools[0, [0, 7]], tools[0, [1, 8]] = 0.469, 0.1
    assert on_table(tools)[0] == pytest.approx(np.array([[0.0, 0.6, 0.0], [0.0, 0.4, 0.0]]))
