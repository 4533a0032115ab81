"""Published claims about parts of networks, reproduced in shape on small models."""
