"""Estimators of log p(x) for each datum: exact, by importance sampling, annealing, filters and Markov chains; bounds."""
