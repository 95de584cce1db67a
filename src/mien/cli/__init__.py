"""The command line: `main.py` and one file a verb. What takes time to import is imported inside the verb."""
