"""Tests of `helpers.encode`."""
