"""One script against two engines: what either answers, and its events, compared field by field.

`python -m conformance.differential REAL OURS` (addresses as in DOCKER_HOST). What may differ, and since when,
is in `allowed`; everything else that does is a failure.
"""
