"""CLAP-RF as a policy of LeRobot: ``lerobot-train --policy.type=clap`` on any of its datasets.

LeRobot finds this package by its name and loads it; the method itself is `learners.clap`. From a checkout, it is
installed beside the project: ``uv pip install --no-deps -e plugins/lerobot_policy_clap``.

One run learns in three stages what our own learner learns of robots alone: words for actions (``vocabulary_steps``), a
vision-language model that says them (``token_steps``), and then the flow beside it, with the tokens held to what they
were (Algorithm 4). ``clap.drive`` says who drives, the flow (``rf``) or the tokens (``ntp``).

What differs from `learners.clap.clap`, because a dataset of LeRobot does not say what its numbers mean:

- Words are of an arm's numbers as they are, joints or poses, as LeRobot scales them; ``arms=2`` halves an action into
  left and right, which share one vocabulary. Such words mean the same for no other robot.
- Film of people is no part of it, because nothing in film says joints. There is no encoder of film, and what is left of
  CLAP's tokens is what they do for a robot's own data.
- Chunks in which nothing happens are learned from like any other.
- ``--policy.path`` goes on with the last stage: set ``vocabulary_steps`` and ``token_steps`` to 0 then.
"""

from lerobot_policy_clap.configuration_clap import ClapConfig

__all__ = ["ClapConfig"]
