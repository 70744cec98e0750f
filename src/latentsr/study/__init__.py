"""A whole study from one file: datasets, autoencoders, arms and measures, each job done once and kept."""
