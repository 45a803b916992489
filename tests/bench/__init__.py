"""Measurements, never tests: each prints figures with their yardsticks from the same run."""
