"""Conformance: every mode on every module of real models; see README.md."""
