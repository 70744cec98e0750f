"""Training jobs on Lightning: autoencoder and denoiser, and the callbacks that both share."""
