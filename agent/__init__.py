"""Bel-me-niet agent: screens outbound calls against the do-not-call register, in the dial path of Asterisk.

The tree is the diagram. ``domain`` is pure and imports nothing of ours; the use cases beside this file
(``screening``, ``registers``, ``seller_lists``, ``outbox``) take ports and give values; ``adapters`` speak Redis,
SQLite and AGI; ``entrypoints`` are the FastAGI service, the classic AGI script and the command line;
``bootstrap`` wires them by hand.
"""
