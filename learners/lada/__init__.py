"""LaDA: actions embedded by what language calls them (arXiv 2603.12967)."""
