"""The outside world behind ports: Redis, SQLite, Asterisk. Every vendor error is translated here."""
