"""Command-line interface: one module per command, with heavy imports deferred until the command runs."""
