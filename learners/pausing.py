"""Learning may be asked to make way for a while."""


class Paused(Exception):
    """Learning stopped at a step because whoever hears of its steps said so. What was learned until then is stored."""
