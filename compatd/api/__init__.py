"""Handlers by noun: decode, one engine call, encode. No decisions here."""
