"""Conformance suite: unmodified clients against whatever Docker Engine `DOCKER_HOST` names."""
