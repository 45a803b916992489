"""A strict fake Asterisk on a socket."""
