"""OCI `linux.seccomp` to a loadable filter: `program(profile, cache) -> (BPF bytes, load flags)`."""

from runtime.init.seccomp.cache import program

__all__ = ["program"]
