"""Registries: the client side of the OCI distribution protocol (Docker Registry HTTP API V2)."""

import os

# Passwords in root's ~/.netrc are not for registries, nor for whom a registry redirects to: aiohttp would
# send them, where `trust_env` is only to mean proxies.
os.environ["NETRC"] = os.devnull
