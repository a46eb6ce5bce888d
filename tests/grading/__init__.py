"""Tests of `tools.grading`, and the submissions that it is tried on."""
