"""What a Docker engine is: no HTTP, no syscalls."""
