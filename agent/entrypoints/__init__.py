"""Where the outside calls us: the FastAGI server, the classic AGI script and the command line."""
