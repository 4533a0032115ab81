"""How fast a sweep is: every way to the same numbers, in turn."""
