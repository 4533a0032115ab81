"""The backends that come with `surgery`; loaded by name, never imported by users."""
