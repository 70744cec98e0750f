"""Pictures of what was measured. Free of torch: arrays in, files out."""
