"""Every mode on every module of eleven real models; see README.md."""
