"""The Dockerfile language, without any I/O: bytes in, instructions, expansions, patterns and warnings out."""
