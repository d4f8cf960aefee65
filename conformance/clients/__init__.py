"""Test suites and playbooks of a user of the engine, run as such a user would: in a process of their own."""
