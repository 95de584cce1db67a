"""From a checkpoint to a model file. Needs the extra `train`."""
