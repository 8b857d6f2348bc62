"""The task of training a variational autoencoder (Kingma and Welling, 2014) of Stable Diffusion's architecture.

The encoder gives a normal distribution of each latent. Training draws from it; the codec takes its mean. KL, its
divergence from the standard normal distribution, has a small weight: latents then lie close together around 0, and
what is drawn from N(0, 1) decodes to something.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from latent8.networks.colours import as_rgb
from training.autoencoders import AutoencoderTask, Trainee

TRAVERSE = (-3, -2, -1, 0, 1, 2, 3)  # added to a channel of the latents, in standard deviations of N(0, 1)
N_SAMPLES = 8
MAX_LOG_VARIANCE = 20.0  # diffusers clips to [-30, 20]


class VaeTask(AutoencoderTask):
    columns = ("mae", "mse", "psnr_db", "lpips", "kl", "latent_std")
    default_stages, default_channels = 4, 4

    def config(self) -> dict[str, Any]:
        return {**super().config(), "force_upcast": False}

    def new_model(self) -> nn.Module:
        return Trainee(AutoencoderKL.from_config(self.architecture["config"]))

    def loss(self, model: nn.Module, photos: Tensor) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(model, Trainee)
        target = self.seen(photos)
        mean, log_variance = moments(model.autoencoder, target)
        output = model.autoencoder.decode(mean + (log_variance / 2).exp() * torch.randn_like(mean)).sample
        loss, figures = self.picture_losses(output, target)
        divergence = kl(mean, log_variance).mean()
        self.deviation = mean.detach().std()
        figures |= {"kl": divergence.item(), "latent_std": mean.std().item()}
        return loss + self.args.kl_weight * divergence, figures

    def latents(self, model: nn.Module, photos: Tensor) -> Tensor:
        assert isinstance(model, Trainee)
        return moments(model.autoencoder, self.seen(photos))[0]

    def grid(self, model: nn.Module, photos: Tensor) -> list[Tensor]:
        assert isinstance(model, Trainee)
        z = self.latents(model, photos)
        shown = nn.functional.pad(z, (0, 0, 0, 0, 0, max(0, 3 - z.shape[1])))[:, :3] / 6 + 0.5
        return [
            as_rgb(self.seen(photos)),
            nn.functional.interpolate(shown, size=photos.shape[-2:]),
            as_rgb(model.autoencoder.decode(z).sample),
        ]

    def pictures(self, model: nn.Module, photos: Tensor) -> dict[str, list[Tensor]]:
        """traverse: the first photo, one channel of its latents changed at a time; samples: decoded N(0, 1)."""
        assert isinstance(model, Trainee)
        z = self.latents(model, photos[:1])
        rows = []
        for channel in range(z.shape[1]):
            changed = z.repeat(len(TRAVERSE), 1, 1, 1)
            changed[:, channel] += z.new_tensor(TRAVERSE)[:, None, None]
            rows.append(as_rgb(model.autoencoder.decode(changed).sample))
        generator = torch.Generator().manual_seed(0)  # the same at every step, on every device
        noise = torch.randn(2 * N_SAMPLES, *z.shape[1:], generator=generator).to(z.device)
        samples = as_rgb(model.autoencoder.decode(noise).sample)
        return {"traverse": rows, "samples": list(samples.split(N_SAMPLES))}


def moments(autoencoder: Any, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures [B, C, H, W] in [-1, 1] -> mean and log variance of each latent's distribution, float32 [B, c, h, w]."""
    found = autoencoder.quant_conv(autoencoder.encoder(pictures)).float()
    mean, log_variance = found.chunk(2, dim=1)
    return mean, log_variance.clamp(-30, MAX_LOG_VARIANCE)


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of N(mean, exp(log_variance)) from N(0, 1) in nats, element by element (Kingma and Welling, B)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2
