"""LeRobot's own policies, learned from our windows: peers to measure by, and a way to hand a policy over to LeRobot."""
