"""One file per version, each able to undo itself."""
