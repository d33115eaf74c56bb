"""Learn."""

from appliance.tui.telling import Telling


class Learn(Telling):
    """Learn."""

    TITLE = "Learn"
