"""One module for each subject of the dashboard: parse, ask one use case, show."""
