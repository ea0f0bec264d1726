"""Log weights, ``log p(x, z) - log q(z | x)``: what all of inference is computed from, in chunks that fit the memory."""
