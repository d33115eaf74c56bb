"""CLAP, whole: stage after stage to a policy in a folder, resumed after any stop, and gone on from."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from learners import BadCheckpoint, CannotGoOn, ChunkPolicy, load, method
from learners.clap.act_vae import ActVaeNet
from learners.clap.clap import Clap, lessons
from learners.clap.explaining import explain
from learners.clap.net import ClapNet
from learners.clap.post import Exercises
from learners.clap.presets import RELEASE_BLOCKS
from learners.clap.vd_vae import VdVaeNet
from learners.data import NoData
from learners.stages import fingerprint
from learners.train import Tell
from tests.clap import QUICK, film, settings, windows
from tests.lessons import TINY, squares

torch.set_num_threads(1)

STAGES = [
    "1/5 action vocabulary",
    "2/5 reading actions off film",
    "3/5 labelling film",
    "4/5 token policy",
    "5/5 continuous head",
]


class Stopped(Exception):
    """The power went."""


def heard(said: list[str], stop: str = "", after: int = 99) -> Callable[[str], Tell]:
    """Note every stage, and stop in one of them when more than so much of it is done."""

    def stage(name: str) -> Tell:
        def tell(done: int, _of: int, _loss: float) -> None:
            if name not in said:
                said.append(name)
            if name == stop and done > after:
                raise Stopped

        return tell

    return stage


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[ChunkPolicy, list[str], Path]:
    """A policy, what was told while it learned, and the folder of its run."""
    run, said = tmp_path_factory.mktemp("run"), list[str]()
    how = settings()
    return how.fit(windows(how), run, film=film(how), stage=heard(said)), said, run


def folder(policy: ChunkPolicy, where: Path) -> Path:
    policy.save(where)
    return where


def plans(policy: ChunkPolicy) -> dict[str, torch.Tensor]:
    """What each drive does at some moments."""
    net: ClapNet = policy.net
    batch, found = windows(settings(), seed=3, arms=policy.body.arms).batch(np.arange(4)), {}
    for drive in ("rf", "ntp"):
        net.drive = drive
        torch.manual_seed(0)
        found[drive] = net.steps(batch.images, batch.state, batch.instructions).detach()
    return found


def same(one: ChunkPolicy, other: ChunkPolicy) -> bool:
    return fingerprint(one.net) == fingerprint(other.net)


def test_it_goes_through_its_stages_and_tells_of_each(first: tuple[ChunkPolicy, list[str], Path]) -> None:
    policy, said, run = first
    assert said == STAGES
    assert policy.method == "clap"
    assert {"flow", "matching", "key", "loss", "tokens_loss"} <= policy.measured.keys()
    assert all(math.isfinite(value) for value in policy.measured.values())
    for stage in ("act_vae", "vd_vae", "tokens"):
        assert json.loads((run / stage / "done.json").read_text())["digest"]
        assert not list((run / stage).glob("step-*"))
    assert len(list((run / "labels").rglob("*.safetensors"))) == 2


def test_a_saved_policy_plans_the_same_by_either_drive(
    first: tuple[ChunkPolicy, list[str], Path], tmp_path: Path
) -> None:
    policy, _, _ = first
    before, again = plans(policy), load(folder(policy, tmp_path / "policy"))
    assert again.how == policy.how
    for drive, plan in plans(again).items():
        assert torch.equal(plan, before[drive]), drive
    assert not torch.equal(before["rf"], before["ntp"])
    assert {each.name for each in (tmp_path / "policy").iterdir() if each.is_dir()} == {"act_vae", "vd_vae"}


def test_a_copy_of_a_loaded_policy_has_all_that_it_takes_to_go_on(
    first: tuple[ChunkPolicy, list[str], Path], tmp_path: Path
) -> None:
    policy, _, _ = first
    again = load(folder(load(folder(policy, tmp_path / "one")), tmp_path / "two"))
    kept = VdVaeNet.load(tmp_path / "two" / "vd_vae", ActVaeNet.load(tmp_path / "two" / "act_vae"))
    assert isinstance(again.net, ClapNet)
    assert kept.digest == VdVaeNet.load(tmp_path / "one" / "vd_vae").digest


def test_stopped_between_and_within_every_stage_it_ends_with_the_same_weights(
    first: tuple[ChunkPolicy, list[str], Path], tmp_path: Path
) -> None:
    how, began = settings(), list[list[str]]()
    stops = [
        (STAGES[0], 3),
        (STAGES[1], 3),
        (STAGES[2], 0),
        (STAGES[3], 0),
        (STAGES[3], 3),
        (STAGES[4], 0),
        (STAGES[4], 3),
    ]
    for stop, after in stops:
        said = list[str]()
        with pytest.raises(Stopped):
            how.fit(windows(how), tmp_path, film=film(how), stage=heard(said, stop, after))
        began.append(said)
    said = []
    last = how.fit(windows(how), tmp_path, film=film(how), stage=heard(said))
    # What is done is not done again; labelling is looked at anew, and finds them.
    assert [each[0] for each in began] == [STAGES[0], STAGES[0], STAGES[1], *[STAGES[2]] * 4]
    assert said == [STAGES[2], STAGES[4]]
    assert same(last, first[0])
    assert last.net.act.digest == first[0].net.act.digest


@pytest.fixture
def run(first: tuple[ChunkPolicy, list[str], Path], tmp_path: Path) -> Path:
    """A copy of the run that may be spoilt."""
    shutil.copytree(first[2], tmp_path / "copy")
    return tmp_path / "copy"


def test_an_artefact_that_changed_since_is_refused(run: Path) -> None:
    how = settings()
    for stage in ("act_vae", "vd_vae", "tokens"):
        note = run / stage / "done.json"
        told = note.read_text()
        digest = json.loads(told)["digest"]
        note.write_text(told.replace(digest, "0" * len(digest), 1))
        with pytest.raises(BadCheckpoint, match="not what was stored there; remove"):
            how.fit(windows(how), run, film=film(how))
        note.write_text(told)


def test_a_stage_that_was_made_with_something_else_is_refused(run: Path) -> None:
    how = settings()
    note = run / "tokens" / "done.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"against": {"act_vae": "another"}}))
    with pytest.raises(BadCheckpoint, match=r"tokens was made with \{'act_vae': 'another'\}"):
        how.fit(windows(how), run, film=film(how))


def test_a_policy_whose_vocabulary_was_exchanged_is_refused(
    first: tuple[ChunkPolicy, list[str], Path], tmp_path: Path
) -> None:
    policy, how = first[0], settings()
    kept = folder(policy, tmp_path / "policy")
    other = replace(how.act_vae, hz=how.hz, k=how.k, training=replace(QUICK, seed=7)).fit(windows(how, seed=9))
    other.save(kept / "act_vae")
    with pytest.raises(BadCheckpoint, match="made with another Act-VAE"):
        load(kept)
    shutil.rmtree(kept / "act_vae")
    with pytest.raises(BadCheckpoint, match="act_vae holds no policy"):
        load(kept)


def test_it_goes_on_from_a_policy_with_both_vocabularies_as_they_were(
    first: tuple[ChunkPolicy, list[str], Path], tmp_path: Path
) -> None:
    parent = load(folder(first[0], tmp_path / "parent"))
    how, said = settings(), list[str]()
    child = how.fit(windows(how, seed=8), tmp_path / "run", parent=parent, film=film(how, seed=6), stage=heard(said))
    assert said == STAGES[2:]
    assert child.net.act.digest == parent.net.act.digest
    kept = folder(child, tmp_path / "child")
    assert VdVaeNet.load(kept / "vd_vae").digest == VdVaeNet.load(tmp_path / "parent" / "vd_vae").digest
    assert not same(child, parent)
    assert torch.equal(child.net.scales.plan_mean, parent.net.scales.plan_mean)
    assert plans(load(kept))["rf"].shape == (4, 8, 7)


def test_eyes_that_foretell_are_begun_several_times_where_nothing_was_learned_before(tmp_path: Path) -> None:
    how = settings()
    sizes = replace(how.ntp.vlm.sizes, points=4, foresee=how.act_vae.code)
    how = replace(how, ntp=replace(how.ntp, beginnings=2, alone=3, vlm=replace(how.ntp.vlm, sizes=sizes)))
    said, again = list[str](), list[str]()
    policy = how.fit(windows(how), tmp_path, stage=heard(said))
    assert said == [STAGES[0], "4/5 token policy: eyes to begin with", *STAGES[3:]]
    assert not list((tmp_path / "tokens").rglob("step-*")), "what it took to go on is not needed any more"
    how.fit(windows(how), parent=policy, stage=heard(again))
    assert again == STAGES[3:]


def test_without_a_step_it_is_the_parent_with_another_drive(
    first: tuple[ChunkPolicy, list[str], Path], tmp_path: Path
) -> None:
    none = replace(QUICK, steps=0)
    how = replace(settings(), drive="ntp", adapt=none, training=none)
    child = how.fit(windows(how), tmp_path, parent=first[0], film=film(how))
    assert same(child, first[0])
    assert child.net.drive == "ntp"


def test_a_new_head_is_the_papers_way(first: tuple[ChunkPolicy, list[str], Path]) -> None:
    none = replace(QUICK, steps=0)
    how = replace(settings(), keep_head=False, adapt=none, training=none)
    child = how.fit(windows(how), parent=first[0])
    assert fingerprint(child.net.ntp) == fingerprint(first[0].net.ntp)
    assert fingerprint(child.net.head) != fingerprint(first[0].net.head)


def test_passes_over_the_data_become_steps(first: tuple[ChunkPolicy, list[str], Path]) -> None:
    """43 or 44 of 48 windows are learned from in batches of 8: two passes are 9 to 12 steps."""
    counted = list[int]()
    how = replace(settings(), adapt_passes=2.0, training=replace(QUICK, steps=0, held_out=0.0))

    def stage(name: str) -> Tell:
        return lambda _done, of, _loss: counted.append(of) if name == STAGES[3] else None

    how.fit(windows(how), parent=first[0], stage=stage)
    assert set(counted) == {12}


def test_it_goes_on_only_from_what_it_can(first: tuple[ChunkPolicy, list[str], Path]) -> None:
    how, policy = settings(), first[0]
    other = replace(how, hz=5.0, act_vae=replace(how.act_vae, entries=32))
    with pytest.raises(CannotGoOn, match="the parent has another hz, act_vae"):
        other.fit(windows(other), parent=policy)
    with pytest.raises(CannotGoOn, match="moves one arm of 7 joints, and the demonstrations are of 2 arms"):
        how.fit(windows(how, arms=2), parent=policy)
    stranger = replace(TINY, training=replace(QUICK, steps=0)).fit(squares())
    with pytest.raises(CannotGoOn, match="the parent is a ccol policy; CLAP goes on from CLAP policies alone"):
        how.fit(windows(how), parent=stranger)
    wider = replace(how, head=replace(how.head, width=64), adapt=replace(QUICK, steps=0))
    with pytest.raises(CannotGoOn, match="the parent's head does not fit: size mismatch"):
        wider.fit(windows(how), parent=policy)


@pytest.mark.parametrize("arms", [1, 2])
def test_what_the_tokens_mean_at_a_moment_is_explained(arms: int) -> None:
    how = replace(settings(), training=replace(QUICK, steps=0))
    data = windows(how, arms=arms)
    policy = how.fit(data)
    seen = explain(policy.net, data, 5)
    assert seen.codes.shape == (2, 4)
    assert bool((seen.codes[0] == -1).all()) is (arms == 1)
    assert seen.plan.shape == (8, 7 * arms)
    assert seen.tool.shape == (arms, 3)
    assert seen.closed.shape == (arms, 9)
    assert (seen.picture.shape, seen.weight.shape) == ((32, 32, 3), (2, 2))
    assert bool((seen.weight >= 0).all())
    policy.net.drive = "ntp"
    batch = data.batch(np.array([5]))
    plan = policy.net.steps(batch.images, batch.state, batch.instructions)
    np.testing.assert_allclose(seen.plan, plan[0].numpy(), atol=1e-5)


def test_two_arms_and_no_film(tmp_path: Path) -> None:
    how = replace(settings(), cameras=("left_wrist", "right_wrist", "top"))
    assert how.senses.cameras == ("top", "right_wrist", "left_wrist")
    said = list[str]()
    policy = how.fit(windows(how, arms=2), tmp_path / "run", stage=heard(said))
    assert said == [STAGES[0], *STAGES[3:]]
    again = load(folder(policy, tmp_path / "policy"))
    assert not (tmp_path / "policy" / "vd_vae").exists()
    assert again.body.arms == 2
    batch = windows(how, arms=2).batch(np.arange(2))
    assert again.net.steps(batch.images, batch.state, batch.instructions).shape == (2, 8, 14)


def test_tokens_are_not_taught_to_rest_and_the_flow_is(first: tuple[ChunkPolicy, list[str], Path]) -> None:
    how = settings()
    data = windows(how)
    plan = data.plan[:]
    plan[:5, :, :6], plan[:5, :, 6] = 0, 0.08
    mixture = lessons(replace(data, plan=plan), first[0].net.act, None, 0.5)
    assert set(mixture.split(0.0, 0)[0]) == set(range(5, 48))
    assert set(Exercises(mixture, how.matching, 0.0, 0).split(0.0, 0)[0]) == set(range(48))


def test_demonstrations_in_which_nothing_is_said_are_refused() -> None:
    how = settings()
    with pytest.raises(NoData, match="give the task an instruction"):
        how.fit(replace(windows(how), instructions=("", " ", "", "")))


def test_a_cache_that_checkpointing_does_not_keep_is_refused_before_anything_is_learned() -> None:
    small = Clap.preset("small")
    kept = replace(small.ntp, vlm=replace(small.ntp.vlm, checkpointing=True))
    with pytest.raises(ValueError, match=r"set ntp\.vlm\.checkpointing=false, or head\.condition to"):
        replace(small, ntp=kept, head=replace(small.head, condition="kv"))


def test_presets() -> None:
    assert method("clap") is Clap
    paper, release, small, tiny = (Clap.preset(name) for name in ("paper", "release", "small", "tiny"))
    assert (paper.k, paper.act_vae.tokens, paper.act_vae.entries, paper.head.width, paper.head.heads) == (
        32,
        8,
        256,
        2560,
        40,
    )
    assert (paper.matching.alpha, paper.matching.direction, paper.matching.anchor) == (
        0.005,
        "policy_reference",
        "none",
    )
    assert release.head.blocks == RELEASE_BLOCKS
    assert (release.head.self_attention, release.backbone_pace) == ("none", 0.1)
    for published in (paper, release):
        assert (published.sight.points, published.per_step, published.keep_head) == (0, False, False)
    assert (small.k, tiny.k) == (16, 16)
    with pytest.raises(ValueError, match="no preset 'huge'; there are tiny, small, paper, release"):
        Clap.preset("huge")
