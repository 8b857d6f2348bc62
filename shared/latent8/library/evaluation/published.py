"""Figures that the ancestor of latent8 published of its own evaluation (ciCciC/ImageCompressorProject, README, 2023).

99 photos, its latents of 64 x 64 x 4 bytes; no code of the measurement was published, and no machine stated.
"""

from __future__ import annotations

WHERE = "2023, machine not stated"
FOOTNOTE = (
    "The published time of a search seems to be counted twice: once by itself, once more with the reconstruction."
)

# First, second and third quartile and sum, in MB.
ORIGINALS_MB = (0.299, 0.338, 0.376, 33.631)
LATENTS_MB = (0.0127, 0.0131, 0.0134, 1.294)

# Mean times in milliseconds, by row of the table of times.
MEAN_MS = {
    "file store, one original": 1.856,
    "file store, all originals": 195.232,
    "file store, one latent": 1.255,
    "file store, one latent, reconstructed": 40.559,
    "file store, all latents, reconstructed": 2522.841,
    "vector store, one latent": 63.007,
    "vector store, all latents": 4189.0,
    "top-5 search, latents in the records": 235.427,
    "reconstruction of 5, latents in the records": 425.043,
    "top-5 search, file names in the records": 15.473,
    "reconstruction of 5, file names in the records": 210.832,
}
