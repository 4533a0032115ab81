"""Conformance: whole model zoos, and every mode on some models; see README.md."""
