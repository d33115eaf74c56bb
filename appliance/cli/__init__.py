"""The command line. Every command is a function; what is heavy is imported inside it."""

from appliance.cli.program import app, main

__all__ = ["app", "main"]
