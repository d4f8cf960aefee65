"""The Debian package itself: `scripts/test package`. Needs root, and what packaging/deb/build does."""
