"""Pairs that nobody here wrote: Pyro's own examples, one adapter a file, and what is tried with each."""

from __future__ import annotations

from . import air, cevae, cvae, dmm, eight_schools, hmm, lda, scanvi, sparse_gamma, ss_vae, svi_modules, vae
from .attempt import Attempt, Example

__all__ = ["EXAMPLES", "Attempt", "Example"]

EXAMPLES: tuple[Example, ...] = (
    vae.VAE,
    vae.VAE_COMPARISON,
    ss_vae.SS_VAE,
    cvae.CVAE,
    dmm.DMM,
    sparse_gamma.SPARSE_GAMMA,
    lda.LDA,
    air.AIR,
    scanvi.SCANVI,
    cevae.CEVAE,
    svi_modules.SVI_TORCH,
    svi_modules.SVI_LIGHTNING,
    eight_schools.EIGHT_SCHOOLS,
    hmm.HMM,
)
