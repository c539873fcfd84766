"""Where cells run: local processes first, clusters later."""
