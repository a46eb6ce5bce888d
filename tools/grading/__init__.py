"""Grade a class: `python -m tools.grading SUBMISSIONS`, or `make grade SUBMISSIONS=folder`; docs/grading.md tells how.

What runs a learner's code (`sandbox`, `inside/`) is kept apart from what judges it (`remote`, `judge`), and both from
what files the marks (`collect`, `gradebook`, `export`).
"""
