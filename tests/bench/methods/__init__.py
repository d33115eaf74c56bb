"""The bench of methods: who learns what, from how much, and how that went."""
