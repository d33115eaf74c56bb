"""LeRobot's own programs train and try our methods, installed as anybody would install them."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from storage.export import Take
from storage.lerobot import Export, write
from tests import takes
from tests.datasets import FPS
from tests.driven import drive

ROOT = Path(__file__).resolve().parent.parent

TRAINED = """
import json, sys, numpy, torch
from pathlib import Path
from lerobot.configs import PreTrainedConfig
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.utils.import_utils import register_third_party_plugins

register_third_party_plugins()
torch.set_num_threads(1)
folder, again, dataset = sys.argv[1:]
policy = get_policy_class("ccol").from_pretrained(folder, strict=True)
before, after = make_pre_post_processors(policy.config, pretrained_path=folder)
policy.save_pretrained(again)
before.save_pretrained(again), after.save_pretrained(again)
other = get_policy_class("ccol").from_pretrained(again, strict=True)
before_too, after_too = make_pre_post_processors(other.config, pretrained_path=again)
shown = LeRobotDataset("ours/data", root=dataset, video_backend="pyav")[0]
names = [*policy.config.input_features, "task"]
actions, same = [], []
for _ in range(3):
    actions.append(after(policy.select_action(before({name: shown[name] for name in names}))))
    same.append(after_too(other.select_action(before_too({name: shown[name] for name in names}))))
chunk = after(other.predict_action_chunk(before({name: shown[name] for name in names})))
print(json.dumps({
    "vocabulary": policy.config.vocabulary,
    "steps": list(chunk.shape),
    "same": bool(torch.equal(torch.cat(actions), torch.cat(same))),
    "mean": after.steps[0].stats["action"]["mean"].tolist(),
    "finite": bool(chunk.isfinite().all()),
}))
"""

MADE = """
import sys, torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.factory import make_pre_post_processors
from lerobot_policy_ccol.modeling_ccol import CCoLConfig, CCoLPolicy

config = CCoLConfig(
    device="cpu", push_to_hub=False, vocabulary=["transfer", "the", "cube"], image=32, n_action_steps=4, chunk_size=4,
    input_features={
        "observation.state": PolicyFeature(FeatureType.STATE, (14,)),
        "observation.images.top": PolicyFeature(FeatureType.VISUAL, (3, 480, 640)),
    },
    output_features={"action": PolicyFeature(FeatureType.ACTION, (14,))},
)
CCoLPolicy(config).save_pretrained(sys.argv[1])
numbers = {"mean": torch.zeros(14), "std": torch.ones(14)}
for each in make_pre_post_processors(config, dataset_stats={"observation.state": numbers, "action": numbers}):
    each.save_pretrained(sys.argv[1])
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin as its wheel has it: package and description, on nobody's path but the programs'."""
    folder = tmp_path_factory.mktemp("plugins")
    source = ROOT / "plugins" / "lerobot_policy_ccol"
    built = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "built")]
    subprocess.run(built, cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next((folder / "built").iterdir())) as wheel:
        wheel.extractall(folder / "installed")
    return folder / "installed"


def run(plugins: Path, folder: Path, *command: str) -> str:
    """What a program says; it has our plugin and nothing to fetch from."""
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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_lerobot_trains_ccol_on_a_dataset_of_ours_and_reads_it_back(plugins: Path, tmp_path: Path) -> None:
    write([Take(drive(tmp_path / "home", 2.4, seed)) for seed in (0, 1)], tmp_path / "data", Export(FPS))
    run(
        plugins,
        tmp_path,
        program("lerobot-train"),
        "--policy.type=ccol",
        "--policy.device=cpu",
        "--policy.push_to_hub=false",
        "--policy.image=32",
        "--policy.width=32",
        "--policy.chunk_size=5",
        "--policy.n_action_steps=2",
        "--dataset.repo_id=ours/data",
        f"--dataset.root={tmp_path / 'data'}",
        "--dataset.video_backend=pyav",
        "--batch_size=4",
        "--steps=3",
        "--save_freq=3",
        "--log_freq=1",
        "--num_workers=0",
        "--env_eval_freq=0",
        "--wandb.enable=false",
        f"--output_dir={tmp_path / 'out'}",
    )
    folder = tmp_path / "out" / "checkpoints" / "last" / "pretrained_model"
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors"}
    told = run(
        plugins, tmp_path, sys.executable, "-c", TRAINED, str(folder), str(tmp_path / "again"), str(tmp_path / "data")
    )
    said = json.loads(told.splitlines()[-1])
    assert said["same"]
    assert said["finite"]
    assert said["steps"] == [1, 5, 8]
    assert said["vocabulary"] == sorted(set(takes.TASK.lower().split()))
    expected = json.loads((tmp_path / "data" / "meta" / "stats.json").read_text())["action"]["mean"]
    np.testing.assert_allclose(said["mean"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_lerobot_tries_ccol_in_an_environment_of_its_own(plugins: Path, tmp_path: Path) -> None:
    """Untrained, for a few steps: what matters is that every part finds the next."""
    run(plugins, tmp_path, sys.executable, "-c", MADE, str(tmp_path / "policy"))
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
