"""The other end of the vendors' wires, for rehearsing a cell without its hardware."""
