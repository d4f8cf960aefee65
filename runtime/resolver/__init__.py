"""The resolver on 127.0.0.11 of every container on a user-defined network: one process for all of them.

`message` is the wire format, `records` who is called what, `answers` what a query gets: no I/O in these.
`serving` has a container's sockets, `forwarding` asks other servers, `process` is the process's life.
Standard library only, one thread.
"""
