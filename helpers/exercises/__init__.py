"""The tasks of the exercises: cases, judges and hints, one module a lesson."""
