"""Tests of `helpers.choosing`."""
