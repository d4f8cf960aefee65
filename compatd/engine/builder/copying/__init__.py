"""COPY and ADD: what they bring into a snapshot, and the digest of it."""

from compatd.engine.builder.copying.transfer import Copy, Key, ahead, copy, fetch, key

__all__ = ["Copy", "Key", "ahead", "copy", "fetch", "key"]
