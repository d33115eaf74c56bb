"""LeRobot's own policies, learned from our windows, as peers to measure by; and our methods as policies of LeRobot."""
