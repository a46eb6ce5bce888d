"""Tests of `helpers.models`."""
