"""How fast curves are, against loops over every component, level and draw."""
