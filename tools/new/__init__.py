"""Scaffolds: begin a model, a lesson or a task with something that passes. `make new-model` and its neighbours."""
