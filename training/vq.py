"""The task of training a vector-quantised autoencoder (van den Oord et al., 2017), diffusers' VQModel.

Each position of the latents is replaced by the nearest entry of a codebook, gradients passing straight through. The
codebook is no parameter: each code is the running mean of the latents that chose it (appendix A.1 there), and a code
that hardly any chooses starts anew at a latent of the last batch (Dhariwal et al., "Jukebox", 2020, section 3.1).
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from diffusers import VQModel
from torch import Tensor, nn

from latent8.networks.colours import as_rgb
from training.autoencoders import AutoencoderTask, Trainee
from training.lpips import LPIPS

EPSILON = 1e-5  # term of the Laplace smoothing of counts
N_SAMPLES = 8
CODES_IN_A_ROW = 16


class VqTrainee(Trainee):
    """A VQModel, and the running sums that its codebook [codes, channels] is made of.

    counts: how many latents chose a code, [codes]; sums: the sum of those, [codes, channels]; both over a batch, as
    running means. started: whether the codebook has been set to latents of the first batch.
    """

    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, autoencoder: VQModel):
        super().__init__(autoencoder)
        codebook = self.codebook.requires_grad_(False)
        self.register_buffer("counts", torch.zeros(len(codebook)))
        self.register_buffer("sums", torch.zeros_like(codebook))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    @property
    def codebook(self) -> Tensor:
        return self.autoencoder.quantize.embedding.weight

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [B, C, H, W] in [-1, 1] -> latents before quantisation, float32 [B, c, h, w]."""
        return self.autoencoder.quant_conv(self.autoencoder.encoder(pictures)).float()

    def decode(self, quantised: Tensor) -> Tensor:
        """Codes in the place of latents [B, c, h, w] -> [B, C, H, W] in about [-1, 1]."""
        return self.autoencoder.decode(quantised, force_not_quantize=True).sample

    @torch.no_grad()
    def start(self, vectors: Tensor) -> None:
        """Set the codebook to latents drawn from [n, channels]; any two are a little apart."""
        drawn = vectors[torch.randint(len(vectors), (len(self.codebook),), device=vectors.device)]
        self.codebook.copy_(drawn + 0.01 * vectors.std() * torch.randn_like(drawn))
        self.sums.copy_(self.codebook)
        self.counts.fill_(1)
        self.started.fill_(True)

    @torch.no_grad()
    def learn_codes(self, vectors: Tensor, indices: Tensor, decay: float, restart_below: float) -> Tensor:
        """Latents [n, channels] and the codes they chose [n] -> which codes started anew, bool [codes]."""
        n_codes = len(self.codebook)
        counts = torch.bincount(indices, minlength=n_codes).float()
        sums = torch.zeros_like(self.sums).index_add_(0, indices, vectors)
        self.counts.lerp_(counts, 1 - decay)
        self.sums.lerp_(sums, 1 - decay)
        total = self.counts.sum()
        dead = self.counts < restart_below * total / n_codes
        n_dead = int(dead.sum())
        if n_dead:
            even = total / n_codes
            self.sums[dead] = even * vectors[torch.randint(len(vectors), (n_dead,), device=vectors.device)]
            self.counts[dead] = even
        smoothed = (self.counts + EPSILON) / (self.counts.sum() + n_codes * EPSILON) * self.counts.sum()
        self.codebook.copy_(self.sums / smoothed[:, None])
        return dead


class VqTask(AutoencoderTask):
    columns = ("mae", "mse", "psnr_db", "lpips", "commitment", "perplexity", "codes_used", "restarts")
    default_stages, default_channels = 3, 16

    def __init__(self, lpips: LPIPS | None, args: argparse.Namespace):
        super().__init__(lpips, args)
        self._last: tuple[Tensor, Tensor] | None = None  # latents and indices of the last batch
        self._restarts = 0

    def config(self) -> dict[str, Any]:
        return {**super().config(), "num_vq_embeddings": self.args.codes, "vq_embed_dim": self.latent_channels}

    def new_model(self) -> nn.Module:
        return VqTrainee(VQModel.from_config(self.architecture["config"]))

    def loss(self, model: nn.Module, photos: Tensor) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(model, VqTrainee)
        target = self.seen(photos)
        z = model.encode(target)
        vectors = flat(z.detach())
        if not model.started and torch.isfinite(vectors).all():
            model.start(vectors)
        quantised, indices = nearest(z, model.codebook)
        commitment = (z - quantised).square().mean()
        output = model.decode(z + (quantised - z).detach())
        loss, figures = self.picture_losses(output, target)
        self.deviation = z.detach().std()
        self._last = vectors, indices.flatten()
        counts = torch.bincount(indices.flatten(), minlength=len(model.codebook))
        figures |= {
            "commitment": commitment.item(),
            "perplexity": perplexity(counts),
            "codes_used": float((counts > 0).sum()),
            "restarts": float(self._restarts),  # those of the step before
        }
        return loss + self.args.beta * commitment, figures

    def after_step(self, model: nn.Module, averaged: nn.Module) -> None:
        assert isinstance(model, VqTrainee) and isinstance(averaged, VqTrainee) and self._last
        dead = model.learn_codes(*self._last, self.args.codebook_decay, self.args.restart_below)
        self._restarts = int(dead.sum())
        averaged.codebook[dead] = model.codebook[dead]  # a running mean would drag them through empty space
        super().after_step(model, averaged)

    def latents(self, model: nn.Module, photos: Tensor) -> Tensor:
        assert isinstance(model, VqTrainee)
        return model.encode(self.seen(photos))

    def grid(self, model: nn.Module, photos: Tensor) -> list[Tensor]:
        assert isinstance(model, VqTrainee)
        quantised, indices = nearest(self.latents(model, photos), model.codebook)
        colours = code_colours(model.codebook)[indices].permute(0, 3, 1, 2)
        return [
            as_rgb(self.seen(photos)),
            nn.functional.interpolate(colours, size=photos.shape[-2:]),
            as_rgb(model.decode(quantised)),
        ]

    def pictures(self, model: nn.Module, photos: Tensor) -> dict[str, list[Tensor]]:
        """codebook: each code alone, decoded; samples: codes drawn as often as training chose them, unrelated."""
        assert isinstance(model, VqTrainee)
        side = photos.shape[-1] // self.multiple
        codes = model.codebook[:, :, None, None]
        alone = torch.cat([model.decode(part.expand(-1, -1, 4, 4)) for part in codes.split(64)])
        alone = nn.functional.pad(as_rgb(alone), (1, 1, 1, 1))
        missing = -len(alone) % CODES_IN_A_ROW
        alone = torch.cat([alone, torch.zeros_like(alone[:1]).expand(missing, -1, -1, -1)])
        generator = torch.Generator().manual_seed(0)
        weights = model.counts.cpu() + EPSILON
        drawn = torch.multinomial(weights, N_SAMPLES * side * side, replacement=True, generator=generator)
        quantised = model.codebook[drawn.to(photos.device)].view(N_SAMPLES, side, side, -1).permute(0, 3, 1, 2)
        return {"codebook": list(alone.split(CODES_IN_A_ROW)), "samples": [as_rgb(model.decode(quantised))]}


def flat(z: Tensor) -> Tensor:
    """Latents [B, c, h, w] -> their vectors, [B h w, c]."""
    return z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])


def nearest(z: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Latents [B, c, h, w] -> the nearest codes in their place, and the indices of those, [B, h, w]."""
    z = z.detach()
    indices = torch.cdist(flat(z), codebook).argmin(dim=1).view(len(z), *z.shape[2:])
    return codebook[indices].permute(0, 3, 1, 2), indices


def perplexity(counts: Tensor) -> float:
    """Perplexity of the codes, exp of the entropy of their use: the number of codes if all are used equally often."""
    shares = counts.double() / counts.sum()
    return math.exp(-torch.xlogy(shares, shares).sum().item())


def code_colours(codebook: Tensor) -> Tensor:
    """A colour for each code, [codes, 3] in [0, 1]: its place along the three widest directions of the codebook."""
    centred = (codebook - codebook.mean(0)).double()
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    places = centred @ directions[:3].T
    places = nn.functional.pad(places, (0, 3 - places.shape[1]))
    low, high = places.amin(0), places.amax(0)
    return ((places - low) / (high - low).clamp_min(1e-9)).float()
