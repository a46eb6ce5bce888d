"""Tests of the course as it is read: lessons, prose, site, JupyterLab, papermill."""
