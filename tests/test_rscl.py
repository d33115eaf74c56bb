"""RS-CL's weights, loss, cut-outs and schedule are what its equations say, and it leaves its hosts as they are."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import learners
from learners import Windows
from learners.body import ONE_ARM, Body
from learners.ccol import Net
from learners.contrast import contrast, cross_entropy, targets
from learners.rscl import Regulariser, RsCl, in_turn, left, nearness, reported
from learners.stages import fingerprint
from tests.lessons import TINY, squares

torch.set_num_threads(1)

LITTLE = RsCl.preset("tiny")
PAIR = Body(12, 2)
WIDTH = 16


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(how: RsCl = LITTLE, cameras: int = 2, body: Body = ONE_ARM, steps: int = 10) -> Regulariser:
    """A regulariser of tokens of 16 numbers, always the same."""
    torch.manual_seed(0)
    return Regulariser(how, WIDTH, body, cameras, steps)


def weights(felt: Tensor, beta: float | None, valid: Tensor | None = None) -> Tensor:
    return targets(nearness(felt, beta, valid), itself=True)


@pytest.mark.parametrize("beta", [0.3, 1.0, None])
def test_weights_are_rows_of_one_from_symmetric_nearness_and_nothing_is_nearer_than_oneself(
    beta: float | None,
) -> None:
    felt = drawn(40, 10)
    near, shared = nearness(felt, beta), weights(felt, beta)
    torch.testing.assert_close(near, near.T, rtol=0, atol=0)
    torch.testing.assert_close(shared.sum(1), torch.ones(40), rtol=0, atol=1e-6)
    assert torch.equal(shared.argmax(1), torch.arange(40))
    assert bool((near.diagonal() == 1).all())


def test_weights_by_hand() -> None:
    felt = torch.tensor([[0.0], [1.0], [3.0]])
    near = torch.tensor([[0.0, 1, 3], [1, 0, 2], [3, 2, 0]])
    by_hand = (-near / 0.5).softmax(1)
    torch.testing.assert_close(weights(felt, 0.5), by_hand)
    # The distances are 1, 2 and 3; a fifth of their median is 0.4.
    torch.testing.assert_close(weights(felt, None), (-near / 0.4).softmax(1))


def test_a_wide_beta_tells_nothing_apart_and_a_narrow_one_everything() -> None:
    felt = drawn(12, 10)
    torch.testing.assert_close(weights(felt, 1e8), torch.full((12, 12), 1 / 12), rtol=0, atol=1e-6)
    torch.testing.assert_close(weights(felt, 1e-4), torch.eye(12), rtol=0, atol=1e-6)


def test_what_has_no_state_is_like_itself_alone_and_changes_nobody_elses_weights() -> None:
    felt, valid = drawn(8, 10), torch.tensor([1, 1, 0, 1, 0, 1, 1, 1], dtype=torch.bool)
    felt[~valid] = torch.nan
    for beta in (0.7, None):
        shared = weights(felt, beta, valid)
        assert torch.equal(shared[~valid], torch.eye(8)[~valid])
        assert not shared[:, ~valid][valid].any()
        torch.testing.assert_close(shared[valid][:, valid], weights(felt[valid], beta))
    assert torch.equal(weights(felt, None, torch.zeros(8, dtype=torch.bool)), torch.eye(8))


def loss(z: Tensor, z_cut: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
    found = contrast(z, z_cut, near, LITTLE.temperature, itself=True)
    return found.loss, found.floor


def test_the_loss_is_never_below_its_floor_and_there_only_where_what_is_said_are_the_weights() -> None:
    near = nearness(drawn(16, 10), 1.0)
    for seed in range(5):
        found, floor = loss(drawn(16, 8, seed=seed), drawn(16, 8, seed=seed + 50), near)
        assert found > floor + 0.01
    shared = targets(near, itself=True)
    exact = cross_entropy(shared.log(), near, itself=True)
    torch.testing.assert_close(exact.loss, exact.floor, rtol=0, atol=1e-5)
    torch.testing.assert_close(exact.floor, -(shared * shared.log()).sum(1).mean())


def test_with_a_narrow_beta_it_is_the_plain_contrast() -> None:
    z, z_cut = drawn(12, 8), drawn(12, 8, seed=1)
    found, floor = loss(z, z_cut, nearness(drawn(12, 10, seed=2), 1e-4))
    logits = F.normalize(z, dim=1) @ F.normalize(z_cut, dim=1).T / LITTLE.temperature
    torch.testing.assert_close(found, F.cross_entropy(logits, torch.arange(12)))
    assert float(floor) == pytest.approx(0, abs=1e-5)


def test_neither_the_length_of_z_nor_a_turn_of_the_states_changes_it() -> None:
    z, z_cut, felt = drawn(12, 8), drawn(12, 8, seed=1), drawn(12, 10, seed=2)
    turn = torch.linalg.qr(drawn(10, 10, seed=3)).Q
    one = loss(z, z_cut, nearness(felt, 0.5))[0]
    torch.testing.assert_close(loss(z * 40, z_cut * 0.1, nearness(felt @ turn, 0.5))[0], one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", ["masked", "published"])
def test_it_is_the_equations_by_hand(layout: Any) -> None:
    """The term, from the loss as a double sum, for samples of which each loses one camera's tokens."""
    how = replace(LITTLE, layout=layout, beta=0.8)
    net, tokens, state = made(how), drawn(6, 10, WIDTH), drawn(6, 1, ONE_ARM.width, seed=1)
    camera = in_turn(10, 2, tokens.device)
    kept = left(camera.expand(6, 10), 2, 0)
    z, z_cut = (net.project(each).double() for each in (tokens, tokens * kept[..., None]))
    z, z_cut = z.detach(), z_cut.detach()
    q = state[:, -1, 7:].double()
    by_hand = floor = 0.0
    for i in range(6):
        near = torch.stack([(-(q[i] - q[j]).norm() / 0.8).exp() for j in range(6)])
        says = torch.stack([F.cosine_similarity(z[i], z_cut[j], dim=0) / 0.2 for j in range(6)]).log_softmax(0)
        share = near / near.sum()
        by_hand -= float((share * says).sum()) / 6
        floor -= float((share * share.log()).sum()) / 6
    term = net(tokens, camera, state)
    assert float(term.detach()) == pytest.approx(by_hand - floor, abs=1e-5)
    notes = net.notes
    assert notes["rscl_excess"] == pytest.approx(by_hand - floor, abs=1e-5)
    assert notes["rscl_floor"] == pytest.approx(floor, abs=1e-5)
    assert notes["rscl_weight"] == 1
    assert 1 / 6 < notes["rscl_self_weight"] < 1
    assert notes["rscl_agreement"] == pytest.approx(float(F.cosine_similarity(z, z_cut).mean()), abs=1e-5)


@pytest.mark.parametrize("cameras", [2, 3])
def test_each_sample_loses_exactly_one_cameras_tokens_and_every_camera_is_lost_in_its_turn(cameras: int) -> None:
    camera = torch.cat([in_turn(4 * cameras, cameras, torch.device("cpu")), torch.full((3,), -1)]).expand(60, -1)
    kept = left(camera, cameras, 5)
    lost = [set(camera[row][~kept[row]].tolist()) for row in range(60)]
    assert all(len(each) == 1 for each in lost)
    assert set.union(*lost) == set(range(cameras))
    assert torch.equal((~kept).sum(1), torch.full((60,), 4))
    assert torch.equal(kept, left(camera, cameras, 5))
    assert not torch.equal(kept, left(camera, cameras, 6))


def test_of_one_camera_each_sample_loses_another_half() -> None:
    camera = torch.cat([torch.full((2,), -1), torch.zeros(7)]).long().expand(30, -1)
    kept = left(camera, 1, 0)
    assert torch.equal((~kept).sum(1), torch.full((30,), 3))
    assert bool(kept[:, :2].all())
    assert len({tuple(each) for each in kept.tolist()}) > 10
    with pytest.raises(ValueError, match="no half to cut out"):
        left(torch.zeros(2, 1, dtype=torch.long), 1, 0)


def test_cut_tokens_are_zero_and_the_rest_are_as_they_were_and_an_adapter_sees_both() -> None:
    seen: list[Tensor] = []

    def adapter(tokens: Tensor) -> Tensor:
        seen.append(tokens)
        return tokens

    tokens, camera = drawn(5, 8, WIDTH), in_turn(8, 2, torch.device("cpu"))
    made()(tokens, camera, drawn(5, 1, ONE_ARM.width), adapter=adapter)
    whole, cut = seen
    assert torch.equal(whole, tokens)
    for before, after in zip(tokens.chunk(2, dim=1), cut.chunk(2, dim=1), strict=True):
        gone = ~after.flatten(1).any(1)
        assert torch.equal(after[~gone], before[~gone])
    assert int((~cut.reshape(5, 2, -1).any(2)).sum()) == 5


def test_the_pull_falls_as_half_a_cosine() -> None:
    net = made(replace(LITTLE, weight=2.0), steps=8)
    assert net.weight == 2
    net.after(3)
    assert net.weight == pytest.approx(1)
    net.after(7)
    assert net.weight == pytest.approx(0)
    net.after(20)
    assert net.weight == pytest.approx(0)
    tokens, state = drawn(5, 8, WIDTH), drawn(5, 1, ONE_ARM.width)
    assert float(net(tokens, in_turn(8, 2, tokens.device), state).detach()) == pytest.approx(0, abs=1e-7)
    assert net.notes["rscl_excess"] > 0


@pytest.mark.parametrize("adapter", [None, lambda tokens: tokens.cumsum(1)])
def test_what_a_decoder_is_shown_is_the_same_with_and_without_a_summary_unless_published(
    adapter: Callable[[Tensor], Tensor] | None,
) -> None:
    tokens = drawn(3, 6, WIDTH)
    masked = made()
    plain = tokens if adapter is None else adapter(tokens)
    assert torch.equal(masked.shown(tokens, adapter=adapter), plain)
    other = made()
    with torch.no_grad():
        other.summary.add_(1)
    assert torch.equal(other.shown(tokens, adapter=adapter), plain)
    assert not torch.equal(other.project(tokens, adapter=adapter), masked.project(tokens, adapter=adapter))


def test_in_the_published_layout_tokens_attend_to_the_summary() -> None:
    tokens = drawn(3, 6, WIDTH)
    net = made(replace(LITTLE, layout="published"))
    before = net.shown(tokens)
    assert before.shape == tokens.shape
    with torch.no_grad():
        net.summary.add_(1)
    assert not torch.allclose(net.shown(tokens), before)
    # A host's own adapter is asked with the summary as a last token.
    assert torch.equal(
        net.shown(tokens, adapter=lambda both: both.flip(1)),
        torch.cat([tokens, net.summary.expand(3, 1, WIDTH)], 1).flip(1)[:, :-1],
    )


@pytest.mark.parametrize("layout", ["masked", "published"])
def test_padding_changes_nothing(layout: Any) -> None:
    net = made(replace(LITTLE, layout=layout))
    tokens = drawn(3, 6, WIDTH)
    real = torch.tensor([[0, 0, 1, 1, 1, 1]] * 3, dtype=torch.bool)
    noisy = torch.where(real[..., None], tokens, 50.0)
    torch.testing.assert_close(net.project(noisy, real), net.project(tokens, real))
    torch.testing.assert_close(net.project(tokens[:, 2:]), net.project(tokens, real))
    torch.testing.assert_close(net.shown(tokens[:, 2:]), net.shown(noisy, real)[:, 2:])


def test_the_branch_with_a_camera_cut_out_teaches_the_projector_alone_where_it_is_told_to() -> None:
    """With the whole branch cut off as well, nothing but the projector has a gradient."""
    tokens, camera = drawn(6, 8, WIDTH), in_turn(8, 2, torch.device("cpu"))
    found = []
    for gradient in (True, False):
        net = made(replace(LITTLE, cut_gradient=gradient))
        asked: list[Tensor] = []

        def adapter(tokens: Tensor, asked: list[Tensor] = asked) -> Tensor:
            asked.append(tokens.detach().requires_grad_())
            return asked[-1]

        net(tokens, camera, drawn(6, 1, ONE_ARM.width), adapter=adapter).backward()
        whole, cut = asked
        assert whole.grad is not None
        assert whole.grad.any()
        found.append(cut.grad is not None and bool(cut.grad.any()))
        assert all(each.grad is not None and each.grad.any() for each in net.projector.parameters())
    assert found == [True, False]


def test_states_are_the_tools_of_all_arms_in_their_range_and_what_rests_is_not_blown_up() -> None:
    felt_so = np.array(squares().state[:])
    felt_so[..., 9] = 0.5 + 1e-5 * felt_so[..., 9]
    data = replace(squares(), state=felt_so)
    net = made()
    net.begin(data)
    newest = torch.from_numpy(felt_so)
    felt = net.felt(newest)
    assert felt.shape == (len(data), 10)
    moves = torch.arange(10) != 2
    torch.testing.assert_close(felt[:, moves].amin(0), -torch.ones(9))
    torch.testing.assert_close(felt[:, moves].amax(0), torch.ones(9))
    assert float(felt[:, 2].abs().max()) < 0.01
    newest[:, :-1] = 100
    newest[:, -1, :7] = 100
    assert torch.equal(net.felt(newest), felt)


def test_a_pairs_states_stand_side_by_side_and_parts_have_weights() -> None:
    state = drawn(5, 2, PAIR.width)
    tools = torch.cat([state[:, -1, 6:16], state[:, -1, 22:32]], dim=1)
    torch.testing.assert_close(made(body=PAIR).felt(state), tools)
    weighed = made(replace(LITTLE, state_weights=(2.0, 0.0, 3.0)), body=PAIR).felt(state)
    torch.testing.assert_close(weighed, tools * torch.tensor([2.0] * 3 + [0.0] * 6 + [3.0]).repeat(2))
    joints = made(replace(LITTLE, felt="joints"), body=PAIR).felt(state)
    torch.testing.assert_close(joints, torch.cat([state[:, -1, :6], state[:, -1, 16:22]], dim=1))


def test_what_cannot_be_summed_up_is_refused() -> None:
    with pytest.raises(ValueError, match="give the policy a camera"):
        made(cameras=0)
    with pytest.raises(ValueError, match=r"cannot be shared among rscl\.heads=3"):
        made(replace(LITTLE, heads=3))
    with pytest.raises(ValueError, match="nothing for the summary to read with"):
        made(replace(LITTLE, layers=0))
    with pytest.raises(ValueError, match="there are tiny, small, paper"):
        RsCl.preset("huge")


QUICK = replace(TINY.training, tracker="none", workers=0, clip=1e9)
"""Without clipping: a norm of more numbers is rounded otherwise, though the others are all zero."""
TWO = replace(TINY, cameras=("front", "wrist"), dropout=0.1, state_noise=0.05, brightness=0.1, training=QUICK)
"""CCoL that draws whatever can be drawn in training."""


def seen_twice(episodes: int = 10) -> Windows:
    """The squares, by two cameras."""
    one = squares(episodes)
    return replace(one, frames=one.frames * 2, frame=one.frame.repeat(2, 1))


def test_without_weight_a_trained_policy_is_the_same_to_the_bit_as_without_it() -> None:
    plain = TWO.fit(seen_twice()).net.state_dict()
    held = replace(TWO, rscl=replace(LITTLE, weight=0.0)).fit(seen_twice()).net.state_dict()
    assert {name for name in held if not name.startswith("rscl.")} == set(plain)
    for name, each in plain.items():
        assert torch.equal(each, held[name]), name
    moved = replace(TWO, rscl=LITTLE).fit(seen_twice()).net.state_dict()
    assert not torch.equal(plain["from_seen.weight"], moved["from_seen.weight"])


def test_training_tells_what_rscl_notes_and_of_windows_held_out_only_the_hosts_loss() -> None:
    policy = replace(TWO, rscl=LITTLE, training=replace(QUICK, held_out=0.2)).fit(seen_twice())
    measured = policy.measured
    assert measured["rscl_excess"] > 0
    assert 0 < measured["rscl_weight"] < 0.02
    assert measured["rscl"] == pytest.approx(measured["rscl_weight"] * measured["rscl_excess"])
    assert 0 < measured["rscl_floor"] < math.log(16)
    assert 1 / 16 < measured["rscl_self_weight"] < 1
    assert -1 <= measured["rscl_agreement"] <= 1
    for name in ("z", "h", "z_chance", "h_chance"):
        assert {f"{name}_cknna", f"{name}_cka", f"{name}_knn"} <= measured.keys()
    net = policy.net
    batch = seen_twice().batch(np.arange(8))
    assert "rscl" in net.train().losses(batch)
    assert "rscl" not in net.eval().losses(batch)


def test_a_run_that_stopped_goes_on_with_the_pull_that_it_had(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def tell(done: int, _of: int, _loss: float) -> None:
        if done == 11:
            raise Stopped

    # An average of weights counts no steps of its own, and going on does not begin with its.
    how = replace(TWO, rscl=LITTLE, training=replace(QUICK, ema=0.9))
    whole = how.fit(seen_twice())
    with pytest.raises(Stopped):
        how.fit(seen_twice(), tmp_path, tell)
    again = how.fit(seen_twice(), tmp_path)
    for name, each in whole.net.state_dict().items():
        assert torch.equal(each, again.net.state_dict()[name]), name


def test_a_policy_comes_back_and_goes_on_from_the_first_step_and_older_ones_know_nothing_of_it(tmp_path: Path) -> None:
    how = replace(TWO, rscl=LITTLE)
    policy = how.fit(seen_twice())
    policy.save(tmp_path / "with")
    back = learners.load(tmp_path / "with")
    assert fingerprint(back.net) == fingerprint(policy.net)
    further = replace(how, training=replace(QUICK, steps=1))
    assert further.fit(seen_twice(), parent=back).measured["rscl_weight"] == 1
    TWO.fit(seen_twice()).save(tmp_path / "without")
    facts = tmp_path / "without" / "policy.json"
    assert '"rscl": null' in facts.read_text()
    facts.write_text(facts.read_text().replace('"rscl": null,', ""))
    assert learners.load(tmp_path / "without").how == TWO


@pytest.mark.parametrize("cameras", [1, 2])
@pytest.mark.parametrize("layout", ["masked", "published"])
def test_ccols_encoder_is_asked_once_and_taught_by_the_pull(cameras: int, layout: Any) -> None:
    how = replace(TWO if cameras == 2 else TINY, rscl=replace(LITTLE, layout=layout))
    data = seen_twice(1) if cameras == 2 else squares(1)
    torch.manual_seed(0)
    net = Net(how, {"vocabulary": ("go",)}).train()
    asked: list[int] = []
    net.vision.register_forward_hook(lambda *_: asked.append(1))
    term = net.losses(data.batch(np.arange(12)))["rscl"]
    assert asked == [1]
    torch.autograd.backward(term)
    taught = {name for name, each in net.named_parameters() if each.grad is not None and each.grad.any()}
    assert {"vision.first.0.weight", "from_seen.weight", "rscl.summary"} <= taught
    # What is felt is not among what is summed up: it would be copied.
    assert not any(name.startswith("latent") for name in taught)


def test_windows_too_few_to_measure_are_not_measured() -> None:
    net = Net(replace(TINY, rscl=LITTLE), {"vocabulary": ("go",)})
    assert net.rscl is not None

    def tokens(batch: Any) -> tuple[Tensor, None]:
        return net.look(batch.images)[1], None

    data = squares()
    assert reported(net, net.rscl, data, np.arange(19), tokens) == {}
    assert reported(net, net.rscl, data, np.arange(0), tokens) == {}
    net.train()
    told = reported(net, net.rscl, data, np.arange(60), tokens)
    assert net.training
    assert told["z_chance_knn"] == pytest.approx(10 / 59, abs=0.06)
