"""Failures and orders."""

from appliance.tui.telling import Telling


class Orders(Telling):
    """Failures and orders."""

    TITLE = "Failures and orders"
