"""Any headset whose browser knows WebXR, over a page that this machine serves: the same rows as ``drivers.openxr``."""

from drivers.webxr.hands import WebHands

__all__ = ["WebHands"]
