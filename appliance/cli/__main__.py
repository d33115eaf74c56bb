"""``python -m appliance.cli`` is ``appliance``."""

from appliance.cli import main

main()
