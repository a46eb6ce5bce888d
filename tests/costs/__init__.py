"""Tests of `helpers.costs`."""
