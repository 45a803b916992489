"""The dashboard: pages over the journal and the register, for people who watch, answer and repair."""
