"""Measured against the usual way, both sides in one process; run by ``make bench``."""
