"""Answers to the exercises, right ones and the usual mistakes, one module a lesson."""
