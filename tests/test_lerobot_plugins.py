"""LeRobot's own programs train and try our methods, installed as anybody would install them."""

import json
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from storage.export import Take
from storage.lerobot import Export, write
from tests.datasets import FPS
from tests.driven import drive
from tests.needs import needs_gym_aloha
from tests.takes import TASK

ROOT = Path(__file__).resolve().parent.parent

KINDS = ["ccol", "lada", "clap"]
LITTLE = {
    "ccol": ["--policy.ccol.image=32", "--policy.ccol.width=32"],
    "lada": [
        "--policy.lada.image=32",
        "--policy.lada.hidden=32",
        "--policy.lada.sight.state_noise=0",
        "--policy.lada.sight.brightness=0",
        "--policy.motion=steps",
        "--policy.pretrain_steps=4",
        "--policy.lada.primitives.open=-1",
        "--policy.lada.primitives.closed=1",
    ],
    "clap": ["--policy.clap.image=32", "--policy.vocabulary_steps=1", "--policy.token_steps=1"],
}
"""Small enough to train in seconds; a run of LaDA is stopped in its first stage, one of CLAP in its last.

LaDA is without noise: after it was stopped, LeRobot does not draw the same.
"""
PAIRS: dict[str, dict[str, Any]] = {"ccol": {}, "lada": {"motion": "none", "arms": 2}, "clap": {"arms": 2}}
"""How each moves two arms of joints."""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugins as their wheels have them."""
    folder = tmp_path_factory.mktemp("plugins")
    for kind in KINDS:
        source = ROOT / "plugins" / f"lerobot_policy_{kind}"
        built = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / kind)]
        subprocess.run(built, cwd=source, check=True, capture_output=True)
        with zipfile.ZipFile(next((folder / kind).iterdir())) as wheel:
            wheel.extractall(folder / "installed")
    return folder / "installed"


def run(plugins: Path, folder: Path, *command: str) -> str:
    """What a program says; it has our plugins and nothing to fetch from."""
    around = os.environ | {
        "PYTHONPATH": f"{plugins}{os.pathsep}{ROOT}",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hugging"),
        "OMP_NUM_THREADS": "1",
        "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl"),
    }
    done = subprocess.run(command, cwd=folder, env=around, capture_output=True, text=True, timeout=500, check=False)
    assert not done.returncode, done.stderr[-3000:]
    return done.stdout


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> Any:
    """How far apart two sets of weights are."""
    return sum(float((one[name] - other[name]).double().square().sum()) for name in one) ** 0.5


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def steps(lerobot: Any, folder: Path) -> None:
    """A dataset that LeRobot made, whose actions are steps of one tool."""
    names = ["x", "y", "z", "roll", "pitch", "yaw", "hand"]
    features: dict[str, Any] = {
        "observation.state": {"dtype": "float32", "shape": (7,), "names": names},
        "action": {"dtype": "float32", "shape": (7,), "names": names},
        "observation.images.front": {"dtype": "image", "shape": (48, 64, 3), "names": ["height", "width", "channels"]},
    }
    made = lerobot.create("their/data", FPS, features, folder, robot_type="panda", use_videos=False)
    random = np.random.default_rng(0)
    for _ in range(2):
        for _ in range(15):
            numbers = {name: random.normal(size=7).astype("f4") for name in ("observation.state", "action")}
            picture = random.integers(0, 256, (48, 64, 3), np.uint8)
            made.add_frame({"task": TASK, "observation.images.front": picture} | numbers)
        made.save_episode(parallel_encoding=False)
    made.finalize()


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory, lerobot: Any) -> dict[str, Path]:
    """What each is trained on: ours, and for LaDA one whose motions have names."""
    folder = tmp_path_factory.mktemp("datasets")
    write([Take(drive(folder / "home", 2.4, seed)) for seed in (0, 1)], folder / "ours", Export(FPS))
    steps(lerobot, folder / "steps")
    return {"ccol": folder / "ours", "lada": folder / "steps", "clap": folder / "ours"}


@pytest.fixture(scope="module")
def theirs(lerobot: Any, plugins: Path) -> Iterator[Any]:
    """LeRobot's own functions, once it has found the plugins."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sys, "path", [*sys.path, str(plugins)])
        warnings.simplefilter("ignore")
        from lerobot.configs import FeatureType, PolicyFeature
        from lerobot.policies import factory
        from lerobot.utils.import_utils import register_third_party_plugins

        register_third_party_plugins()
        yield SimpleNamespace(
            policy=factory.get_policy_class,
            config=factory.make_policy_config,
            processors=factory.make_pre_post_processors,
            state=PolicyFeature(FeatureType.STATE, (14,)),
            picture=PolicyFeature(FeatureType.VISUAL, (3, 480, 640)),
            action=PolicyFeature(FeatureType.ACTION, (14,)),
        )


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
def test_lerobot_trains_it_goes_on_where_it_was_stopped_and_reads_it_back(
    kind: str, plugins: Path, datasets: dict[str, Path], theirs: Any, lerobot: Any, tmp_path: Path
) -> None:
    data, out = datasets[kind], tmp_path / "out"
    run(
        plugins,
        tmp_path,
        program("lerobot-train"),
        f"--policy.type={kind}",
        "--policy.device=cpu",
        "--policy.push_to_hub=false",
        "--policy.chunk_size=8",
        "--policy.n_action_steps=2",
        "--policy.warmup_steps=0",
        *LITTLE[kind],
        "--dataset.repo_id=ours/data",
        f"--dataset.root={data}",
        "--dataset.video_backend=pyav",
        "--batch_size=4",
        "--steps=6",
        "--save_freq=3",
        "--log_freq=1",
        "--num_workers=0",
        "--env_eval_freq=0",
        "--wandb.enable=false",
        f"--output_dir={out}",
    )
    whole, stopped = out / "checkpoints" / "000006", out / "checkpoints" / "000003"
    whole.rename(tmp_path / "whole")
    resumed = f"--config_path={stopped / 'pretrained_model' / 'train_config.json'}"
    run(plugins, tmp_path, program("lerobot-train"), resumed, "--resume=true")
    once, again = (load_file(each / "pretrained_model" / "model.safetensors") for each in (tmp_path / "whole", whole))
    early = load_file(stopped / "pretrained_model" / "model.safetensors")
    assert once.keys() == again.keys() == early.keys()
    exact = [name for name in once if kind == "lada" or not name.startswith("model.")]
    for name in exact:
        torch.testing.assert_close(again[name], once[name], rtol=0, atol=0, msg=name)
    assert apart(again, once) < 0.6 * min(apart(early, once), apart(early, again))
    if kind == "ccol":
        for name in ("model.vision.grey", "model.vision.apart"):
            assert torch.equal(once[name], early[name]), "colours are measured once"
        assert not torch.allclose(early["model.vision.apart"], torch.eye(3), atol=0.1)
    if kind == "clap":
        assert all(torch.equal(once[name], early[name]) for name in exact if name != "done"), (
            "words, and what is held to"
        )

    folder = whole / "pretrained_model"
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors"}
    policy = theirs.policy(kind).from_pretrained(folder, strict=True)
    before, after = theirs.processors(policy.config, pretrained_path=str(folder))
    assert policy.config.tasks == [TASK]
    expected = json.loads((data / "meta" / "stats.json").read_text())["action"]["mean"]
    np.testing.assert_allclose(after.steps[0].stats["action"]["mean"], expected, rtol=1e-5, atol=1e-6)
    shown = lerobot.open(data)[0]
    camera = "observation.images.front"
    seen = {name: shown[name] for name in policy.config.input_features if name != camera}
    chunk = after(policy.predict_action_chunk(before(seen | {camera: shown[camera] / 255, "task": shown["task"]})))
    assert chunk.shape == (1, 8, len(expected))
    assert chunk.isfinite().all()


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_gym_aloha
@pytest.mark.parametrize("kind", KINDS)
def test_lerobot_tries_it_in_an_environment_of_its_own(kind: str, plugins: Path, theirs: Any, tmp_path: Path) -> None:
    """Untrained, for a few steps: what matters is that every part finds the next."""
    config = theirs.config(
        kind,
        device="cpu",
        push_to_hub=False,
        tasks=["transfer the cube"],
        n_action_steps=8,
        chunk_size=8,
        input_features={"observation.state": theirs.state, "observation.images.top": theirs.picture},
        output_features={"action": theirs.action},
        **PAIRS[kind],
    )
    numbers = {"mean": torch.zeros(14), "std": torch.ones(14)}
    stats = {"observation.state": numbers, "action": numbers}
    for each in (theirs.policy(kind)(config), *theirs.processors(config, dataset_stats=stats)):
        each.save_pretrained(tmp_path / "policy")
    run(
        plugins,
        tmp_path,
        program("lerobot-eval"),
        f"--policy.path={tmp_path / 'policy'}",
        "--policy.device=cpu",
        "--env.type=aloha",
        "--env.task=AlohaTransferCube-v0",
        "--env.episode_length=6",
        "--eval.n_episodes=1",
        "--eval.batch_size=1",
        f"--output_dir={tmp_path / 'out'}",
    )
    said = json.loads((tmp_path / "out" / "eval_info.json").read_text())
    assert said["overall"]["n_episodes"] == 1
    assert said["overall"]["pc_success"] == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_that_would_end_before_the_policy_learns_to_move_does_not_begin(
    plugins: Path, datasets: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match="begins after 3500; ask for more steps"):
        run(
            plugins,
            tmp_path,
            program("lerobot-train"),
            "--policy.type=clap",
            "--policy.device=cpu",
            "--policy.push_to_hub=false",
            "--dataset.repo_id=ours/data",
            f"--dataset.root={datasets['clap']}",
            "--steps=3000",
            "--wandb.enable=false",
            f"--output_dir={tmp_path / 'out'}",
        )
