"""The daemon: the Docker Engine API over a container runtime of its own."""

COMPATD_VERSION = "0.1.0"
VERSION = f"29.0.0+compatd{COMPATD_VERSION}"
"""What `docker version` shows as the engine's: the Docker release whose behaviour is served, and ours."""
