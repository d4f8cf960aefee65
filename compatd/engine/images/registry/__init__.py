"""Registries: the client side of the OCI distribution protocol (Docker Registry HTTP API V2)."""
