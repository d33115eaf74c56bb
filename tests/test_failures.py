"""Every failure has a name, found from rows alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from collectors.scripted import Unclear
from ops.failures import finished, judge
from ops.judging.judgement import STAGES, Judgement, ccol6, clap3, clap10
from ops.judging.lines import RULES, VERSION
from ops.judging.table import judge_rows
from storage import Episode, EpisodeWriter, Observation, Outcome
from tests.takes import ARM, TASK, Take


def judged(take: Take) -> Judgement:
    return judge_rows(take.truth(), take.arm(), TASK)


def named(take: Take) -> tuple[str | None, str | None]:
    """Judge a failed take; return its code and stage."""
    judgement = judged(take)
    assert judgement.outcome is Outcome.FAILURE, judgement
    assert judgement.reached == judgement.stage
    return judgement.code, judgement.stage


def test_a_cube_left_on_its_pad_is_a_success() -> None:
    judgement = judged(Take().carry("red_cube", "yellow_pad").wait(0.3))
    assert judgement.outcome is Outcome.SUCCESS
    assert (judgement.code, judgement.stage, judgement.reached, judgement.secondary) == (None, None, "S5", ())


@pytest.mark.parametrize(("off", "outcome"), [(0.045, Outcome.SUCCESS), (0.055, Outcome.FAILURE)])
def test_on_the_pad_means_within_50_mm_of_its_centre(off: float, outcome: Outcome) -> None:
    assert judged(Take().carry("red_cube", "yellow_pad", dx=off).wait(0.5)).outcome is outcome


def test_a_cube_still_in_the_fingers_is_not_delivered_yet() -> None:
    take = Take().to("red_cube").close("red_cube").lift().to("yellow_pad", z=0.15).to("yellow_pad")
    assert named(take.wait(0.5)) == ("TIME", "S4")


def test_a_cube_that_was_let_go_just_now_is_not_still_yet() -> None:
    take = Take().to("red_cube").close("red_cube").lift().to("yellow_pad", z=0.15).to("yellow_pad")
    assert named(take.open().wait(0.04)) == ("TIME", "S5")


def test_a_cube_that_still_slides_on_its_pad_is_not_delivered_yet() -> None:
    take = Take().carry("red_cube", "yellow_pad").wait(0.5)
    for _ in range(10):
        take.at["red_cube"][0] += 0.001
        take.wait(0.02)
    assert not finished(take.seen(), TASK)
    assert finished(take.wait(0.4).seen(), TASK)


def test_a_cube_on_top_of_another_on_the_pad_is_delivered_imprecisely() -> None:
    take = Take({"green_cube": (0.60, 0.25)}).carry("red_cube", "yellow_pad")
    take.at["red_cube"][2] = 0.06
    assert named(take.wait(1.0)) == ("PREC", "S5")


def test_going_for_another_cube_is_the_wrong_object() -> None:
    take = Take().carry("green_cube", "yellow_pad")
    judgement = judged(take)
    assert (judgement.code, judgement.stage, judgement.reached) == ("SEM-OBJ", "S1", "S1")
    assert judgement.evidence["attempted"] == "green_cube"


def test_closing_beside_another_cube_is_the_wrong_object_too() -> None:
    assert named(Take().to("green_cube", dx=0.04).close().wait(1)) == ("SEM-OBJ", "S1")


def test_brushing_another_cube_on_the_way_is_not_an_attempt() -> None:
    take = Take().to("green_cube", z=0.05).touch("green_cube", 0.1).to("red_cube", dx=0.04).close().wait(1)
    assert named(take) == ("LOC", "S1")


def test_an_arm_that_stays_away_made_no_attempt() -> None:
    assert named(Take().wait(3)) == ("SEM-IDLE", "S1")


def test_an_arm_that_closes_far_from_everything_made_no_attempt() -> None:
    assert named(Take().close().wait(3)) == ("SEM-IDLE", "S1")


def test_an_arm_that_stops_above_the_cube_made_no_attempt() -> None:
    assert named(Take().to("red_cube", z=0.08).wait(3)) == ("SEM-IDLE", "S1")


@pytest.mark.parametrize("beside", [0.04, 0.12])
def test_closing_beside_the_right_cube_is_a_localisation_error(beside: float) -> None:
    judgement = judged(Take().to("red_cube", dx=-beside).close().wait(1))
    assert (judgement.code, judgement.stage) == ("LOC", "S1")
    assert judgement.evidence["distance"] == pytest.approx(beside, abs=1e-3)


def test_pushing_the_cube_with_closed_fingers_after_a_miss_is_still_a_miss() -> None:
    take = Take().to("red_cube", dx=0.04).close().wait(0.6).touch("red_cube", 0.5, push=-0.03).wait(1)
    assert named(take) == ("LOC", "S1")


def test_touching_without_a_grasp_is_a_contact_failure() -> None:
    assert named(Take().to("red_cube").close("red_cube", grip=False).wait(1)) == ("CON", "S2")


def test_knocking_the_cube_away_with_open_fingers_is_a_contact_failure() -> None:
    judgement = judged(Take().to("red_cube").touch("red_cube", 0.1, push=0.06).wait(2))
    assert (judgement.code, judgement.stage) == ("CON", "S2")
    assert judgement.evidence["moved"] == pytest.approx(0.06, abs=0.005)


def test_knocking_the_cube_away_counts_even_when_the_fingers_then_close_on_nothing() -> None:
    take = Take().to("red_cube").touch("red_cube", 0.1, push=0.06).wait(0.5).close().wait(1)
    assert named(take) == ("CON", "S2")


def test_pressing_on_the_cube_with_closed_fingers_is_no_grasp() -> None:
    """Both fingers touch it, but it is not between them."""
    take = Take().close().to("red_cube")
    take.gripped = "red_cube"
    take.wait(1)
    take.gripped = None
    assert named(take.wait(1)) == ("CON", "S2")


def test_a_contact_that_time_cuts_short_is_no_contact_failure() -> None:
    take = Take().to("red_cube")
    take.touching = {"red_cube"}
    assert named(take.wait(0.4)) == ("TIME", "S2")


def test_a_grasp_that_slips_at_once_is_a_contact_failure() -> None:
    take = Take().to("red_cube").close("red_cube").go(0.45, 0.10, 0.06, 0.3).slip().wait(2)
    assert named(take) == ("CON", "S2")


def test_a_grasp_that_holds_without_lifting_is_a_lift_failure() -> None:
    take = Take().to("red_cube").close("red_cube").go(0.45, 0.10, 0.035).open().wait(1)
    judgement = judged(take)
    assert (judgement.code, judgement.stage) == ("LIFT", "S2")
    assert judgement.evidence["lift"] == pytest.approx(0.015, abs=1e-3)


def test_standing_still_with_the_cube_on_the_table_is_a_lift_failure() -> None:
    assert named(Take().to("red_cube").close("red_cube").wait(3)) == ("LIFT", "S2")


def test_dragging_the_cube_when_time_runs_out_is_a_time_out() -> None:
    assert named(Take().to("red_cube").close("red_cube").go(0.50, 0.15, 0.02)) == ("TIME", "S2")


def test_losing_the_cube_on_the_way_is_a_drop() -> None:
    take = Take().to("red_cube").close("red_cube").lift().go(0.5, 0.15, 0.15).slip().wait(1)
    judgement = judged(take)
    assert (judgement.code, judgement.stage) == ("DROP", "S3")
    assert judgement.evidence["opened"] is False


def test_letting_go_high_above_the_table_far_from_the_goal_is_a_drop() -> None:
    take = Take().to("red_cube").close("red_cube").lift().go(0.4, 0.0, 0.15).open().wait(1)
    assert named(take) == ("DROP", "S3")


def test_a_cube_that_slips_is_dropped_even_close_above_the_table() -> None:
    take = Take().to("red_cube").close("red_cube").lift().go(0.4, 0.0, 0.15).go(0.4, 0.0, 0.04).slip().wait(1)
    assert named(take) == ("DROP", "S3")


def test_a_cube_that_slips_onto_the_other_pad_is_dropped_and_not_delivered() -> None:
    take = Take().to("red_cube").close("red_cube").lift().to("purple_pad", z=0.15).slip().wait(1)
    assert named(take) == ("DROP", "S3")


def test_a_cube_that_falls_at_the_edge_of_the_goal_was_delivered_imprecisely() -> None:
    take = Take().to("red_cube").close("red_cube").lift().to("yellow_pad", dx=0.07, z=0.15).slip().wait(1)
    assert named(take) == ("PREC", "S4")


def test_the_other_pad_is_the_wrong_goal() -> None:
    judgement = judged(Take().carry("red_cube", "purple_pad", dx=0.03).wait(1))
    assert (judgement.code, judgement.stage) == ("SEM-GOAL", "S4")
    assert judgement.evidence["delivered_to"] == "purple_pad"


def test_time_running_out_over_the_other_pad_is_the_wrong_goal() -> None:
    take = Take().to("red_cube").close("red_cube").lift().to("purple_pad", z=0.15)
    assert named(take) == ("SEM-GOAL", "S4")


def test_putting_the_cube_down_beside_the_pad_is_a_localisation_error() -> None:
    judgement = judged(Take().carry("red_cube", "yellow_pad", dx=-0.15).wait(1))
    assert (judgement.code, judgement.stage) == ("LOC", "S4")
    assert judgement.evidence["distance"] == pytest.approx(0.15, abs=1e-3)


def test_putting_the_cube_down_on_the_edge_of_the_pad_is_imprecise() -> None:
    assert named(Take().carry("red_cube", "yellow_pad", dx=0.07).wait(1)) == ("PREC", "S4")


def test_pushing_the_delivered_cube_off_again_is_imprecise() -> None:
    take = Take().carry("red_cube", "yellow_pad").wait(0.5).to("yellow_pad").touch("red_cube", 0.3, push=0.08)
    assert named(take.wait(1)) == ("PREC", "S5")


def test_taking_the_delivered_cube_away_again_is_a_repeated_step() -> None:
    take = Take().carry("red_cube", "yellow_pad").wait(0.5).carry("red_cube", "purple_pad").wait(1)
    assert named(take) == ("SEM-SEQ", "S5")


@pytest.mark.parametrize(
    ("take", "stage"),
    [
        (Take().go(0.42, 0.05, 0.15), "S1"),
        (Take().to("red_cube").close("red_cube").go(0.45, 0.10, 0.05, 0.3), "S2"),
        (Take().to("red_cube").close("red_cube").lift().go(0.5, 0.12, 0.15), "S3"),
        (Take().to("red_cube").close("red_cube").lift().to("yellow_pad", z=0.15), "S4"),
    ],
)
def test_time_can_run_out_in_any_stage(take: Take, stage: str) -> None:
    assert named(take) == ("TIME", stage)


def test_pressing_on_something_until_time_runs_out_is_kinematic() -> None:
    judgement = judged(Take().go(0.4, 0.0, 0.1).press(2))
    assert (judgement.code, judgement.stage) == ("KIN", "S1")
    assert judgement.evidence["instead_of"] == "SEM-IDLE"


def test_shaking_until_time_runs_out_is_kinematic() -> None:
    take = Take().to("red_cube").close("red_cube").lift().shake(2)
    assert named(take) == ("KIN", "S3")


def test_a_collision_that_costs_the_cube_is_kinematic() -> None:
    take = Take().to("red_cube").close("red_cube").lift().press(0.1).slip().wait(1)
    judgement = judged(take)
    assert (judgement.code, judgement.stage) == ("KIN", "S3")
    assert judgement.secondary == ("DROP",)


def test_a_collision_does_not_explain_a_miss() -> None:
    judgement = judged(Take().to("red_cube", dx=0.04).press(0.5).close().wait(1))
    assert (judgement.code, judgement.secondary) == ("LOC", ("KIN",))


def test_a_short_touch_of_the_table_explains_nothing() -> None:
    assert named(Take().go(0.4, 0.0, 0.1).press(0.1).wait(2)) == ("SEM-IDLE", "S1")
    assert named(Take().to("red_cube", dx=0.04).press(0.1).close().wait(1)) == ("LOC", "S1")


def test_a_miss_that_was_put_right_is_a_success_that_remembers() -> None:
    take = Take().to("red_cube", dx=0.04).close().open().carry("red_cube", "yellow_pad").wait(0.5)
    judgement = judged(take)
    assert judgement.outcome is Outcome.SUCCESS
    assert judgement.secondary == ("recovered:LOC",)


def test_a_recovered_error_does_not_name_a_later_failure() -> None:
    """It missed, tried again, and dropped the cube: that it missed did not cost the success."""
    take = Take().to("red_cube", dx=0.04).close().open().to("red_cube").close("red_cube")
    judgement = judged(take.lift().go(0.5, 0.12, 0.15).slip().wait(1))
    assert (judgement.code, judgement.stage, judgement.secondary) == ("DROP", "S3", ("recovered:LOC",))


def test_the_first_error_of_a_stage_names_the_failure_and_later_ones_are_kept() -> None:
    take = Take().to("green_cube").close("green_cube").open().to("red_cube", dx=0.04).close().wait(1)
    judgement = judged(take)
    assert (judgement.code, judgement.secondary) == ("SEM-OBJ", ("LOC",))


def test_a_fault_is_nobodys_failure(tmp_path: Path) -> None:
    judgement = judge(Episode(Take().wait(1).record(tmp_path, ended_by="fault").path), TASK)
    assert (judgement.outcome, judgement.code, judgement.stage) == (Outcome.INVALID, "ENV", "S0")
    assert "fault" in judgement.evidence["why"]


def test_without_truth_nobody_can_tell(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, {"arm": ARM}, {}) as writer:
        writer.append("arm", Take().wait(1).arm())
        path = writer.seal().path
    judgement = judge(Episode(path), TASK)
    assert (judgement.outcome, judgement.code) == (Outcome.INVALID, "ENV")
    assert "truth" in judgement.evidence["why"]


def test_a_recorded_take_is_judged_as_its_rows_are(tmp_path: Path) -> None:
    """Which cube is which depends on the order of the fields, so it has to survive the disk."""
    for take in (Take().carry("green_cube", "yellow_pad"), Take().carry("red_cube", "yellow_pad").wait(0.5)):
        assert judge(Episode(take.record(tmp_path).path), TASK) == judged(take)


@pytest.mark.parametrize("hole", ["truth", "arm"])
def test_a_hole_in_the_record_is_nobodys_failure(hole: str) -> None:
    take = Take().wait(3)
    rows = {"truth": take.truth(), "arm": take.arm()}
    rows[hole] = np.concatenate([rows[hole][:50], rows[hole][80:]])
    assert judge_rows(rows["truth"], rows["arm"], TASK).code == "ENV"


def test_truth_that_stops_before_the_take_ends_is_nobodys_failure() -> None:
    truth, arm = Take().wait(3).truth(), Take().wait(3).arm()
    end = int(truth["t"][-1])
    assert judge_rows(truth, arm, TASK, end).code == "SEM-IDLE"
    assert judge_rows(truth, arm, TASK, end + 500_000_000).code == "ENV"


@pytest.mark.parametrize("empty", ["truth", "arm"])
def test_no_rows_are_nobodys_failure(empty: str) -> None:
    rows = {"truth": Take().wait(1).truth(), "arm": Take().wait(1).arm()}
    rows[empty] = rows[empty][:0]
    assert judge_rows(rows["truth"], rows["arm"], TASK).evidence["why"] == f"{empty} has no rows"


def test_a_pose_that_is_not_a_number_is_nobodys_failure() -> None:
    take = Take().wait(1)
    take.at["red_cube"][0] = np.nan
    judgement = judged(take.wait(1))
    assert judgement.code == "ENV"
    assert "row 51" in judgement.evidence["why"]


def test_a_cube_that_starts_on_its_goal_proves_nothing() -> None:
    judgement = judged(Take({"red_cube": (0.60, 0.25)}).wait(1))
    assert (judgement.outcome, judgement.code) == (Outcome.INVALID, "ENV")


def test_an_instruction_that_fits_nothing_on_the_table_is_refused() -> None:
    take = Take().wait(1)
    for instruction, there in (
        ("put the orange cube on the yellow pad", "red cube"),
        ("put the red cube on the blue cube", "yellow_pad"),
    ):
        with pytest.raises(Unclear, match=there):
            judge_rows(take.truth(), take.arm(), instruction)


def test_evidence_says_where_to_look_and_by_which_rules() -> None:
    take = Take().to("red_cube", dx=0.04).close().wait(1)
    evidence = judged(take).evidence
    assert evidence["rules"] == VERSION
    assert (evidence["object"], evidence["goal"]) == ("red_cube", "yellow_pad")
    assert evidence["seconds"] == pytest.approx(evidence["row"] / 50)
    assert evidence["first_closing"] == evidence["seconds"] == pytest.approx(1.08, abs=0.04)
    assert evidence["nearest"] == pytest.approx(0.04, abs=0.005)


def test_thresholds_can_be_set() -> None:
    take = Take().carry("red_cube", "yellow_pad", dx=0.07).wait(1)
    wide = replace(RULES, tolerance=0.08)
    assert judge_rows(take.truth(), take.arm(), TASK, rules=wide).outcome is Outcome.SUCCESS


def test_a_running_loop_hears_of_success_by_the_same_rule() -> None:
    take = Take().to("red_cube").close("red_cube").lift().to("yellow_pad", z=0.15).to("yellow_pad")
    assert not finished(take.seen(), TASK)
    assert not finished(take.open().seen(), TASK)
    assert not finished(take.wait(0.1).seen(), TASK)
    assert finished(take.wait(0.3).seen(), TASK)
    assert not finished(take.seen(memory=10), TASK), "too little was seen to know that it was still"


def test_nobody_can_see_success_without_truth() -> None:
    with pytest.raises(LookupError, match="truth"):
        finished(Observation(0, {"arm": Take().arm()}), TASK)
    assert not finished(Observation(0, {"truth": Take().truth()[:0]}), TASK)


VIEWS = {
    ("SEM-OBJ", "S1"): ("attempt", "semantic", "other"),
    ("SEM-GOAL", "S4"): ("place", "semantic", "other"),
    ("SEM-SEQ", "S1"): ("attempt", "semantic", "other"),
    ("SEM-SEQ", "S5"): ("place", "semantic", "other"),
    ("SEM-IDLE", "S1"): ("attempt", "semantic", "other"),
    ("LOC", "S1"): ("pick", "dexterous", "localisation"),
    ("LOC", "S4"): ("place", "dexterous", "localisation"),
    ("CON", "S2"): ("pick", "dexterous", "contact"),
    ("LIFT", "S2"): ("pick", "dexterous", "contact"),
    ("DROP", "S3"): ("place", "dexterous", "contact"),
    ("SIZE", "S2"): ("pick", "dexterous", "size"),
    ("KIN", "S2"): ("pick", "dexterous", "kinematic"),
    ("KIN", "S3"): ("place", "dexterous", "kinematic"),
    ("PREC", "S4"): ("place", "dexterous", "localisation"),
    ("PREC", "S5"): ("place", "dexterous", "localisation"),
    ("TIME", "S2"): ("pick", "other", "other"),
    ("TIME", "S4"): ("place", "other", "other"),
    ("ENV", "S0"): ("excluded", "excluded", "excluded"),
    ("new", "S1"): ("other", "other", "other"),
}


@pytest.mark.parametrize(("code", "stage"), VIEWS)
def test_codes_become_the_classes_of_the_papers(code: str, stage: str) -> None:
    assert (clap3(code, stage), clap10(code), ccol6(code)) == VIEWS[code, stage]


def test_a_time_out_is_what_its_secondary_label_is() -> None:
    assert clap10("TIME", ("recovered:SEM-OBJ", "KIN")) == "dexterous"
    assert clap10("TIME", ("recovered:SEM-OBJ",)) == "other"


def test_stages_are_in_order() -> None:
    assert list(STAGES) == sorted(STAGES)


def test_a_cube_of_another_size_has_lines_of_its_own() -> None:
    """A cube of 30 mm that is 24 mm up is lifted; one of 40 mm in its place would be 19 mm up."""
    take = Take()
    take.at["red_cube"][2] = 0.015
    take.to("red_cube", z=0.015).close("red_cube")
    take.go(float(take.tool[0]), float(take.tool[1]), 0.039).wait(1.0)
    small = judge_rows(take.truth(), take.arm(), TASK, sizes={"red_cube": (0.03, 0.03, 0.03)})
    assert (small.stage, small.code) == ("S3", "TIME")
    assert named(take) == ("LIFT", "S2")
    brick = RULES.of((0.030, 0.044, 0.050))
    assert (brick.lies, brick.closed, brick.reopened) == pytest.approx((0.025, 0.054, 0.064))
    assert brick.thin == pytest.approx(0.025)
    usual = RULES.of((0.04, 0.04, 0.04))
    assert (usual.lies, usual.closed, usual.reopened, usual.thin) == pytest.approx((0.02, 0.05, 0.06, 0.035))
