"""Tests by distance: unit, integration (real Redis, real disk), agi (strict fake Asterisk), e2e (real Asterisk)."""
