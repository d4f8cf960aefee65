"""The Debian package in a guest: `scripts/test-deb`."""
