"""Rules that say how a take ended, for each kind of cell."""
