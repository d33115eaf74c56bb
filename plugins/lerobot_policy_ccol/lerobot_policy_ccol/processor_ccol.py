"""What stands before and after CCoL in LeRobot: its own steps, nothing else."""

from learners.lerobot.plugin import processors

make_ccol_pre_post_processors = processors
