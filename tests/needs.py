"""What a test needs that not every machine has."""

import importlib.util

import pytest

needs_gym_aloha = pytest.mark.skipif(importlib.util.find_spec("gym_aloha") is None, reason="gym-aloha is not installed")
