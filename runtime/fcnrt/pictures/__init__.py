"""Pictures: files, colours, what viewers see."""
