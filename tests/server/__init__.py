"""Tests of `helpers.server`."""
