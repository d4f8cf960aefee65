"""Log drivers that run in the shim: bytes of a container in, lines in a file out."""
