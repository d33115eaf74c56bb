"""LaDA as a policy of LeRobot: ``lerobot-train --policy.type=lada`` on any of its datasets.

LeRobot finds this package by its name and loads it; the method itself is `learners.lada`. From a checkout, it is
installed beside the project: ``uv pip install --no-deps -e plugins/lerobot_policy_lada``.

What LaDA embeds are motions of tools, named by rules: which way, about which axis, hand open or closed. A dataset does
not say whether its actions are such motions, so whoever trains does:

- ``--policy.motion=steps``: an action tells each arm's tool how to go on, seven numbers of way, turn (axis times angle)
  and hand, as in LIBERO, robomimic and most of Open X-Embodiment. Both stages are learned, names first. To be told as
  well are an action's units (``metres``, ``radians``) and which number is an open and a closed hand
  (``lada.primitives.open``, ``.closed``); for LIBERO 0.05, 0.5, -1 and 1.
- ``--policy.motion=none``: it tells anything else, joints for instance. Nothing can be named then, so the first stage
  is left out. What is left of LaDA is its second: words that change what is seen (FiLM), and a chunk learned by L1.
"""

from lerobot_policy_lada.configuration_lada import LaDAConfig

__all__ = ["LaDAConfig"]
