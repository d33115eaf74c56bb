"""What stands before and after CLAP in LeRobot: its own steps, nothing else."""

from learners.lerobot.plugin import processors

make_clap_pre_post_processors = processors
