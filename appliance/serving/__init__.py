"""A policy on another machine: served there, asked here."""
