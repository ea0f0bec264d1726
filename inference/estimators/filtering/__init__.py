"""Particle filters: the evidence of sequences, one step of time after another."""

from .particle_filter import ParticleFilter, Proposal

__all__ = ["ParticleFilter", "Proposal"]
