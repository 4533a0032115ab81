"""What a cut costs while it is in effect, and after it was undone."""
