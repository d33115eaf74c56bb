"""Tests are sentences about what the appliance does. A package, so that no other one of this name comes first."""
