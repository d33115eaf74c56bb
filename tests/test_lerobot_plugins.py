"""LeRobot's own programs train and try our methods, installed as anybody would install them."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
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

TRAINED = """
import json, sys, torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.utils.import_utils import register_third_party_plugins

register_third_party_plugins()
torch.set_num_threads(1)
kind, folder, again, dataset = sys.argv[1:]
policy = get_policy_class(kind).from_pretrained(folder, strict=True)
before, after = make_pre_post_processors(policy.config, pretrained_path=folder)
for each in (policy, before, after):
    each.save_pretrained(again)
other = get_policy_class(kind).from_pretrained(again, strict=True)
before_too, after_too = make_pre_post_processors(other.config, pretrained_path=again)
shown = LeRobotDataset("ours/data", root=dataset, video_backend="pyav")[0]
names = [*policy.config.input_features, "task"]
said = []
for who, into, out_of in ((policy, before, after), (other, before_too, after_too)):
    torch.manual_seed(0)
    said.append([out_of(who.select_action(into({name: shown[name] for name in names}))) for _ in range(3)])
chunk = after(other.predict_action_chunk(before({name: shown[name] for name in names})))
print(json.dumps({
    "tasks": policy.config.tasks,
    "steps": list(chunk.shape),
    "same": bool(torch.equal(torch.cat(said[0]), torch.cat(said[1]))),
    "mean": after.steps[0].stats["action"]["mean"].tolist(),
    "finite": bool(chunk.isfinite().all()),
}))
"""

MADE = """
import json, sys, torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors
from lerobot.utils.import_utils import register_third_party_plugins

register_third_party_plugins()
kind, more, folder = sys.argv[1:]
config = make_policy_config(
    kind, device="cpu", push_to_hub=False, tasks=["transfer the cube"], n_action_steps=8, chunk_size=8,
    input_features={
        "observation.state": PolicyFeature(FeatureType.STATE, (14,)),
        "observation.images.top": PolicyFeature(FeatureType.VISUAL, (3, 480, 640)),
    },
    output_features={"action": PolicyFeature(FeatureType.ACTION, (14,))},
    **json.loads(more),
)
get_policy_class(kind)(config).save_pretrained(folder)
numbers = {"mean": torch.zeros(14), "std": torch.ones(14)}
for each in make_pre_post_processors(config, dataset_stats={"observation.state": numbers, "action": numbers}):
    each.save_pretrained(folder)
"""

KINDS = ["ccol", "lada", "clap"]
LITTLE = {
    "ccol": ["--policy.ccol.image=32", "--policy.ccol.width=32"],
    "lada": [
        "--policy.lada.image=32",
        "--policy.lada.hidden=32",
        "--policy.motion=steps",
        "--policy.pretrain_steps=4",
        "--policy.lada.primitives.open=-1",
        "--policy.lada.primitives.closed=1",
    ],
    "clap": ["--policy.clap.image=32", "--policy.vocabulary_steps=1", "--policy.token_steps=1"],
}
"""Small enough to train in seconds; a run of LaDA is stopped in its first stage, one of CLAP in its last."""
PAIRS = {"ccol": {}, "lada": {"motion": "none", "arms": 2}, "clap": {"arms": 2}}
"""How each moves two arms of joints."""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugins as their wheels have them, on nobody's path but the programs'."""
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


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
def test_lerobot_trains_it_goes_on_where_it_was_stopped_and_reads_it_back(
    kind: str, plugins: Path, datasets: dict[str, Path], tmp_path: Path
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
    assert any(not torch.equal(once[name], early[name]) for name in once)
    for name, values in once.items():
        torch.testing.assert_close(again[name], values, rtol=0, atol=0, msg=name)

    folder = whole / "pretrained_model"
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors"}
    told = run(plugins, tmp_path, sys.executable, "-c", TRAINED, kind, str(folder), str(tmp_path / "again"), str(data))
    said = json.loads(told.splitlines()[-1])
    assert said["same"]
    assert said["finite"]
    assert said["steps"] == [1, 8, 7 if kind == "lada" else 8]
    assert said["tasks"] == [TASK]
    expected = json.loads((data / "meta" / "stats.json").read_text())["action"]["mean"]
    np.testing.assert_allclose(said["mean"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_gym_aloha
@pytest.mark.parametrize("kind", KINDS)
def test_lerobot_tries_it_in_an_environment_of_its_own(kind: str, plugins: Path, tmp_path: Path) -> None:
    """Untrained, for a few steps: what matters is that every part finds the next."""
    run(plugins, tmp_path, sys.executable, "-c", MADE, kind, json.dumps(PAIRS[kind]), str(tmp_path / "policy"))
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
