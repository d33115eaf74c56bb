"""What the twin's plain drawing saves: its painter, and MuJoCo's renderer with its usual shadows and smooth edges.

Both sides draw the same scene in turns, in one process. Run by ``make bench``.
"""

import statistics
import sys
import time

import numpy as np

from drivers.twin.picture import Painter
from drivers.twin.scene import HOME, build

SIZE, ROUNDS, FRAMES = 224, 7, 5


def main() -> None:
    """Print milliseconds a frame for both, and their ratio."""
    import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information

    plain, usual = build((SIZE, SIZE)), build((SIZE, SIZE))
    usual.vis.quality.shadowsize, usual.vis.quality.offsamples = 1024, 4
    usual.light_castshadow[:] = True
    data = mujoco.MjData(usual)
    data.qpos[:7] = HOME
    mujoco.mj_forward(usual, data)
    painter = Painter(plain, (SIZE, SIZE))
    renderer = mujoco.Renderer(usual, SIZE, SIZE)
    spent: dict[str, list[float]] = {"plain": [], "usual": []}
    for _ in range(ROUNDS):
        began = time.perf_counter()
        painter.draw("front", np.repeat(data.qpos[None], FRAMES, axis=0))
        middle = time.perf_counter()
        for _ in range(FRAMES):
            renderer.update_scene(data, "front")
            renderer.render()
        spent["plain"].append((middle - began) / FRAMES * 1e3)
        spent["usual"].append((time.perf_counter() - middle) / FRAMES * 1e3)
    painter.close()
    renderer.close()
    plainly, usually = (statistics.median(times) for times in spent.values())
    sys.stdout.write(
        f"drawing {SIZE} x {SIZE}: plain {plainly:.1f} ms a frame, as usual {usually:.1f} ms, "
        f"ratio {usually / plainly:.1f}\n"
    )


if __name__ == "__main__":
    main()
