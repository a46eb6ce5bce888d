"""Tests of `helpers.benchmark`."""
