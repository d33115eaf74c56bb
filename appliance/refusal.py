"""When the appliance says no."""


class Refusal(Exception):
    """What was wrong, where, and what would have been right: for a person, without a traceback."""
