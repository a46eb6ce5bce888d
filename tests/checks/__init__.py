"""Tests of `helpers.checks` and `helpers.exercises`."""
