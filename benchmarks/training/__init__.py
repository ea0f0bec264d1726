"""Training steps side by side: the same model, the same data and the same Adam, by several libraries.

A `Workload` says what is trained, a `Peer` who trains it. One workload a file, one library a file:

- `vae`, `iwae`, `discrete`, `eight_schools`: the workloads;
- `by_pyrogen`, `by_pyro`, `by_hand`, `by_numpyro`: the peers.
"""
