"""Tests of `helpers.data`."""
