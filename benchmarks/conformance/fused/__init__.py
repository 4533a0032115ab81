"""Every model of the zoo through the fused program, against one forward at a time."""
