"""Trainer for latent8's own models and for autoencoders of diffusers' classes; see training/README.md."""
