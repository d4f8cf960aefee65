"""`compatd doctor`: what keeps the daemon, a container or a client from working, and what to do about it.

One module a kind of check; each has a function that takes a `Machine` (and the configuration, where it asks
for it) and yields findings.
"""
