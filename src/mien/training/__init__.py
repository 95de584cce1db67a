"""Training: recipe -> faces -> augmented batches -> network -> checkpoint. Needs the extra `train`."""
