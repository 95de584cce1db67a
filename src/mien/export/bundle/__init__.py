"""Phone bundle: the graphs of a model with a contract, golden tests and licenses. Needs the extra `train`."""
