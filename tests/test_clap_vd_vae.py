"""VD-VAE sees what was done between two frames: what may flow where, what is frozen, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import torch

from learners import NoData, Training, Windows
from learners.checkpoint import BadCheckpoint
from learners.clap.act_vae import ActVae, ActVaeNet
from learners.clap.augment import Photometric
from learners.clap.labels import infer
from learners.clap.moving import in_windows
from learners.clap.pairs import PairBatch, Pairs
from learners.clap.spacetime import Inverse
from learners.clap.vd_vae import VdVae, VdVaeNet
from learners.clap.vocabulary import OtherVocabulary
from learners.footage import Footage
from storage.pictures import Unpacked
from tests.lessons import squares

torch.set_num_threads(1)

QUICK = Training(lr=1e-3, batch=8, steps=6, warmup=1, check_every=6, save_every=3, tracker="none", workers=0)
ACT = replace(ActVae.preset("tiny"), hz=10.0, k=10, patch=5, width=32, layers=1, feedforward=32, training=QUICK)
TINY = replace(VdVae.preset("tiny"), patch=16, blocks=1, width=16, heads=2, training=QUICK)


def robot(episodes: int = 4, each: int = 12) -> Windows:
    """Windows of a `ToolView`; two frames later is a chunk later."""
    data = squares(episodes=episodes, each=each)
    plan = np.random.default_rng(0).normal(size=(len(data), 10, 7)).astype("f4") * 0.1
    later = np.minimum(data.frame + 2, len(data) - 1)
    return replace(data, plan=plan, later=later, later_past_end=np.zeros(len(data), bool))


def film(films: int = 3, each: int = 8, size: int = 32) -> Footage:
    count = films * each
    frames = np.random.default_rng(1).integers(0, 255, (count, size, size, 3), "u1")
    return Footage(
        frames=Unpacked(frames),
        frame=np.arange(count),
        later=np.minimum(np.arange(count) + 2, count - 1),
        past_end=np.zeros(count, bool),
        moment=np.tile(np.arange(each), films) * 100_000_000,
        episode=np.repeat(np.arange(films), each),
        ids=tuple(uuid4() for _ in range(films)),
        instructions=("stack",) * films,
        subtasks=("stack",) * films,
        arms=np.ones((films, 2), bool),
        hz=10.0,
        ahead=1.0,
    )


@pytest.fixture(scope="module")
def act() -> ActVaeNet:
    return ACT.fit(robot())


def net_of(act: ActVaeNet, how: VdVae = TINY) -> VdVaeNet:
    """An untrained network, always the same."""
    return replace(how, training=replace(how.training, steps=0)).fit(robot(), film(), act)


def batch(act: ActVaeNet, robots: int = 6, people: int = 4, looked: bool = False) -> PairBatch:
    data, seen = robot(), film().within(np.array([False, True]))
    kept = None
    if looked:
        generator = np.random.default_rng(2)
        kept = tuple(generator.normal(size=(n, 3, 4, 16)).astype(np.float16) for n in (len(data), len(seen)))
    pairs = Pairs(data, seen, act.schema, looked=kept)
    numbers = np.concatenate([np.arange(robots), len(data) + np.arange(people)]) * pairs.lights
    return pairs.batch(numbers)


def test_a_later_frame_never_changes_what_is_said_of_an_earlier_one_and_the_earlier_does() -> None:
    torch.manual_seed(0)
    inverse = Inverse(seen=12, patches=5, width=16, blocks=3, heads=2, nuisance=2, count=3, code=4).eval()
    patches = torch.randn(2, 2, 5, 12)
    was = inverse.tokens(patches)
    other = patches.clone()
    other[:, 1] += torch.randn(2, 5, 12)
    now = inverse.tokens(other)
    assert torch.equal(was[:, 0], now[:, 0])
    assert not torch.allclose(was[:, 1], now[:, 1])
    other = patches.clone()
    other[:, 0] += torch.randn(2, 5, 12)
    now = inverse.tokens(other)
    assert not torch.allclose(was[:, 0], now[:, 0])
    assert not torch.allclose(was[:, 1], now[:, 1])


def test_latents_are_read_at_the_later_frame_left_before_right() -> None:
    inverse = Inverse(seen=12, patches=5, width=16, blocks=1, heads=2, nuisance=2, count=3, code=4).eval()
    patches = torch.randn(2, 2, 5, 12)
    action, nuisance = inverse(patches)
    assert action.shape == (2, 2, 3, 4)
    assert nuisance.shape == (2, 2, 4)
    tokens = inverse.tokens(patches)
    torch.testing.assert_close(action[:, 1], inverse.to_action(tokens[:, 1, 5:8]))
    torch.testing.assert_close(nuisance, inverse.to_nuisance(tokens[:, 1, :2]))


def test_learning_moves_neither_the_eye_nor_the_teacher_nor_the_words_of_robots(act: ActVaeNet) -> None:
    net = net_of(act, replace(TINY, pseudo_positive_start=0.0)).train()
    act.zero_grad()
    torch.stack(list(net.losses(batch(act)).values())).sum().backward()  # type: ignore[no-untyped-call]  # torch's
    moved = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    still = {name for name in moved if name.startswith(("eye.", "teacher.", "codes."))}
    assert not still
    assert {"inverse.queries", "environment.vectors", "siglip.theta", "forward_model.to_seen.weight"} <= moved
    assert all(p.grad is None for p in act.parameters())
    learning = {id(p) for group in net.groups() for p in group.parameters}
    assert not learning & {id(p) for part in (net.teacher, net.codes, net.eye) for p in part.parameters()}


def test_the_teacher_sees_clean_frames_and_the_encoder_other_light(act: ActVaeNet) -> None:
    net, pairs = net_of(act, replace(TINY, pseudo_positive_start=0.0)).train(), batch(act, looked=True)
    seen: dict[str, torch.Tensor] = {}
    net.teacher.register_forward_hook(lambda _m, given, _out: seen.update(teacher=given[0]))
    net.inverse.register_forward_hook(lambda _m, given, _out: seen.update(inverse=given[0]))
    net.forward_model.register_forward_hook(lambda _m, given, _out: seen.update(forward=given[0]))
    net.losses(pairs)
    assert pairs.light is not None
    assert torch.equal(seen["teacher"], pairs.clean)
    assert torch.equal(seen["inverse"], pairs.light)
    assert torch.equal(seen["forward"], pairs.clean[:, 0])
    assert not torch.equal(pairs.clean, pairs.light)
    net.eval().losses(pairs)
    assert torch.equal(seen["inverse"], pairs.clean)


def test_without_features_on_disk_the_encoder_sees_both_frames_in_one_light(act: ActVaeNet) -> None:
    net = net_of(act, replace(TINY, light=replace(TINY.light, noise=0.0))).train()
    same = replace(one := batch(act), clean=one.clean[:, :1].expand(-1, 2, -1, -1, -1))
    clean, lit = net._both(same)
    assert torch.equal(lit[:, 0], lit[:, 1])
    assert not torch.equal(lit, clean)


def test_the_teacher_follows_as_the_closed_form_says(act: ActVaeNet) -> None:
    net = net_of(act, replace(TINY, teacher=0.9))
    before = [p.clone() for p in net.teacher.parameters()]
    with torch.no_grad():
        for p in net.inverse.parameters():
            p.add_(1.0)
    for step in range(7):
        net.after(step)
    for slow, fast, was in zip(net.teacher.parameters(), net.inverse.parameters(), before, strict=True):
        torch.testing.assert_close(slow, fast - 0.9**7 * (fast - was), atol=1e-6, rtol=0)


def test_film_is_tied_to_the_teacher_only_once_the_teacher_is_trusted(act: ActVaeNet) -> None:
    net = net_of(act)
    net.how = replace(TINY, pseudo_positive_start=0.7)
    people = batch(act, robots=0, people=4)
    assert net.losses(people)["contrast"] == 0
    net.after(3)
    assert not net.trusts_teacher
    net.after(4)
    assert net.losses(people)["contrast"] > 0


def test_robots_are_tied_to_what_their_arms_did_and_people_to_what_the_teacher_saw(act: ActVaeNet) -> None:
    net, pairs = net_of(act), batch(act, looked=False)
    clean, _ = net.eval()._both(pairs)
    belongs = net._positives(pairs, clean)
    torch.testing.assert_close(belongs[:6, 1], act.features(pairs.rows[:6, 1]))
    torch.testing.assert_close(belongs[6:], net.teacher(clean)[0][6:])
    assert not belongs.requires_grad


def test_an_arm_that_is_not_there_teaches_nothing(act: ActVaeNet) -> None:
    """Neither what the encoder reads for it, nor what is committed to, reaches the decoder or a loss."""
    net, pairs = net_of(act).train(), batch(act, looked=True)
    assert pairs.arms.tolist() == [[False, True]] * 10
    seen: dict[str, torch.Tensor] = {}
    net.forward_model.register_forward_hook(lambda _m, given, _out: seen.update(words=given[1]))
    net.losses(pairs)
    left = seen["words"][:, TINY.nuisance : TINY.nuisance + 8]
    assert not left.any()


@pytest.mark.parametrize("on", ["continuous", "quantized"])
def test_contrast_is_on_latents_or_on_words(act: ActVaeNet, on: str) -> None:
    how = replace(TINY, contrast_on=on)  # type: ignore[arg-type]  # both are allowed
    net, pairs = net_of(act, how).train(), batch(act, looked=True)
    seen = []
    net.siglip.register_forward_hook(lambda _m, given, _out: seen.append(given))
    net.losses(pairs)["contrast"].backward()  # type: ignore[no-untyped-call]  # torch's
    ours, theirs, _ = seen[0]
    among = (ours[0, 0] - net.codes.vectors).square().sum(-1).min() < 1e-9
    assert bool(among) == (on == "quantized")
    assert not theirs.requires_grad
    assert net.inverse.queries.grad is not None
    assert net.inverse.queries.grad.any()


def test_without_a_contrastive_term_there_is_none(act: ActVaeNet) -> None:
    assert "contrast" not in net_of(act, replace(TINY, contrast=0.0)).losses(batch(act))


def test_tied_latents_of_robots_are_drawn_to_where_the_action_is_and_film_is_tied_to_nothing(act: ActVaeNet) -> None:
    net, pairs = net_of(act, replace(TINY, tie=2.0, contrast=0.0)).eval(), batch(act, looked=True)
    terms = net.losses(pairs)
    assert "contrast" not in terms
    seen = net.inverse(pairs.clean)[0][:6, 1]
    off = (seen - act.features(pairs.rows[:6, 1])).square().mean() / net.codes.vectors.var(0).mean()
    torch.testing.assert_close(terms["tie"], 2 * off)
    assert "tie" not in net.losses(pairs_of_people(pairs))


def pairs_of_people(pairs: PairBatch) -> PairBatch:
    return replace(pairs, robot=torch.zeros_like(pairs.robot))


def test_robot_and_film_share_what_is_learned_from_and_whole_episodes_are_held_out(act: ActVaeNet) -> None:
    data, seen = robot(10), film(3)
    lights = tuple(np.zeros((n, 3, 4, 16), np.float16) for n in (len(data), len(seen)))
    pairs = Pairs(data, seen, act.schema, share=0.5, looked=lights)
    learn, check = pairs.split(0.34, 0)
    people = learn // 2 >= len(data)
    assert people.mean() == pytest.approx(0.5, abs=0.1)
    assert not set(learn // 2) & set(check // 2)
    assert set(learn % 2) == {0, 1}
    assert set(check % 2) == {0}
    batch = pairs.batch(np.array([2 * len(data), 0, 5]))
    assert batch.robot.tolist() == [True, True, False]
    assert not batch.rows[2].any()


def test_a_run_learns_goes_on_where_it_stopped_and_is_read_back(act: ActVaeNet, tmp_path: Path) -> None:
    net = TINY.fit(robot(), film(), act, tmp_path / "run")
    again = TINY.fit(robot(), film(), act, tmp_path / "run")
    assert net.measured["loss"] > 0
    assert not (tmp_path / "run" / "features").exists()
    seen = film().batch(np.arange(5))
    words = net.tokens(seen.now, seen.later)
    assert words.shape == (5, 2, 8)
    assert torch.equal(words, again.tokens(seen.now, seen.later))
    net.save(tmp_path / "vd")
    read = VdVaeNet.load(tmp_path / "vd", act)
    assert torch.equal(words, read.tokens(seen.now, seen.later))
    assert read.digest == net.digest != net_of(act).digest


def test_another_act_vae_is_refused_and_so_is_a_folder_of_something_else(act: ActVaeNet, tmp_path: Path) -> None:
    net = net_of(act)
    net.save(tmp_path / "vd")
    other = replace(ACT, training=replace(QUICK, seed=1)).fit(robot())
    with pytest.raises(OtherVocabulary, match=f"act_vae '{other.digest}', not '{act.digest}'"):
        VdVaeNet.load(tmp_path / "vd", other)
    fewer = replace(ACT, entries=16, tokens=4, training=replace(QUICK, steps=0)).fit(robot())
    with pytest.raises(OtherVocabulary, match="entries 16, not 64; count 4, not 8"):
        VdVaeNet.load(tmp_path / "vd", fewer)
    act.save(tmp_path / "act")
    with pytest.raises(BadCheckpoint, match="not what infers actions from film"):
        VdVaeNet.load(tmp_path / "act")


def test_what_cannot_be_learned_from_is_refused(act: ActVaeNet) -> None:
    with pytest.raises(NoData, match="need a camera, and windows"):
        TINY.fit(replace(robot(), later=None), film(), act)
    with pytest.raises(NoData, match="ask for one size"):
        TINY.fit(robot(), film(size=48), act)
    with pytest.raises(ValueError, match="looks at pictures of"):
        net_of(act).tokens(torch.zeros(1, 3, 48, 48), torch.zeros(1, 3, 48, 48))


def test_who_sees_what_moves_is_shown_it_in_training_in_agreement_and_for_labels(
    act: ActVaeNet, tmp_path: Path
) -> None:
    """A picture that stands still is black, so that a film of one says the same whatever is in it."""
    how = replace(TINY, moving=30, outline=5)
    still = replace(film(), frames=Unpacked(np.full((24, 32, 32, 3), 200, np.uint8)))
    black = replace(film(), frames=Unpacked(np.zeros((24, 32, 32, 3), np.uint8)))
    net = replace(how, training=replace(QUICK, steps=2)).fit(robot(), film(), act, cache=tmp_path / "seen")
    net.save(tmp_path / "vd")
    again = VdVaeNet.load(tmp_path / "vd", act)
    assert np.array_equal(infer(still, 1, net).words, infer(black, 1, again).words)
    assert torch.equal(
        net.windows(robot()).batch(np.arange(4)).images, in_windows(robot(), 30).batch(np.arange(4)).images
    )
    first = np.load(min((tmp_path / "seen").glob("*.npy")))
    assert first.shape[1:] == (2, 10, 2)
    assert np.array_equal(first[:, 0], first[:, 1])
    with pytest.raises(ValueError, match="set moving, and no vision"):
        replace(TINY, outline=5)


def test_what_moves_is_learned_from_in_one_light(act: ActVaeNet) -> None:
    """Black that becomes grey, or noisy, would count as something that moves."""
    how = replace(TINY, moving=30, outline=5, training=replace(QUICK, steps=2))
    dark = replace(how, light=Photometric(brightness=0.9, contrast=0.9, noise=0.5))
    assert how.fit(robot(), film(), act).digest == dark.fit(robot(), film(), act).digest
    seen = replace(how, moving=0, outline=0)
    assert seen.fit(robot(), film(), act).digest != replace(seen, light=dark.light).fit(robot(), film(), act).digest


def test_presets_have_the_sizes_they_are_said_to_have(act: ActVaeNet) -> None:
    paper = VdVae.preset("paper")
    assert (paper.width, paper.blocks, paper.heads, paper.nuisance) == (768, 12, 12, 2)
    assert (paper.contrast, paper.regular, paper.quantise, paper.commit) == (0.1, 0.5, 1.0, 1.0)
    how = paper.training
    assert (how.steps, how.lr, how.batch, how.clip) == (100_000, 2e-4, 256, 0.1)
    assert paper.training.lr * paper.environment_pace == pytest.approx(1e-4)
    assert VdVae.preset("release").contrast_on == "quantized"
    tiny = replace(VdVae.preset("tiny"), training=replace(QUICK, steps=0)).fit(robot(), None, act)
    assert sum(p.numel() for p in tiny.parameters()) < 1_000_000
    with torch.device("meta"):
        inverse = Inverse(768, 300, 768, 12, 12, 2, 8, 128)
    assert sum(p.numel() for p in inverse.parameters()) == pytest.approx(113e6, rel=0.05)
    with pytest.raises(ValueError, match="there are tiny, small, paper and release"):
        VdVae.preset("huge")
