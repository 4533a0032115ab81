"""Drivers and workers of a study, killed at random: what is lost, what is not."""
