"""The papers' own suites as cells: environments as LeRobot steps them, in the words of a robot."""
