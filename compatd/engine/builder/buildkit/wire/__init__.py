"""BuildKit's transport: protobuf, gRPC on HTTP/2, sessions. Nothing here knows what a build is."""
