"""BuildKit's door: gRPC over hijacked connections, the services behind it, and what clients lend."""
