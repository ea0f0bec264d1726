"""Markov chain Monte Carlo: NUTS, its diagnostics, and the evidence from its draws."""
