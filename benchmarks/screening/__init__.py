"""Whether scores from one pass put components in the order of their exact effects."""
