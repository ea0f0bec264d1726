"""Statistical faults, as changes of one place of the source, and the tests that must see them.

A fault replaces text that occurs once in its file. Add one by adding a row; run them by `mutate.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Fault:
    """A change of one place of a file, which makes a number wrong."""

    path: str
    tests: str
    """Arguments of pytest."""
    title: str
    right: str
    wrong: str

    def __post_init__(self) -> None:
        found = (ROOT / self.path).read_text().count(self.right)
        if found != 1:
            raise ValueError(f"{self.path}: {self.right!r} ({self.title}) occurs {found} times, not once")


_I = "tests/inference"
_ANNEALING, _ESTIMATORS = (
    f"{_I}/estimators/test_annealing.py",
    f"{_I}/estimators/test_estimators.py tests/contracts/test_estimators.py",
)
_WEIGHTS, _OBJECTIVES = (
    f"{_I}/weights/test_weights.py",
    f"{_I}/objectives/test_objectives.py tests/contracts/test_gradient_estimators.py",
)
_DISTRIBUTIONS = "tests/contracts/test_distributions.py tests/distributions/test_discretized_logistic.py tests/distributions/test_families.py"

_TABLE: dict[tuple[str, str], list[tuple[str, str, str]]] = {
    ("inference/estimators/annealing/transition.py", f"{_I}/estimators/test_transition.py"): [
        ("first half step of 0.45", "momentum + 0.5 * stride * gradient", "momentum + 0.45 * stride * gradient"),
        ("last half step of 0.45", "0.5 * stride * (end.base", "0.45 * stride * (end.base"),
        ("kinetic energy of 0.45 at the end", "end.slope - 0.5 * momentum", "end.slope - 0.45 * momentum"),
        ("kinetic energy of 0.45 at the start", "state.slope - 0.5 * momentum", "state.slope - 0.45 * momentum"),
        ("whole steps of 0.9", "momentum + stride * _gradient", "momentum + 0.9 * stride * _gradient"),
        ("no acceptance step", "accepted = torch.rand_like(gain).log() < gain", "accepted = gain > -math.inf"),
        ("acceptance at twice the gain", "torch.rand_like(gain).log() < gain", "torch.rand_like(gain).log() < 2 * gain"),
        ("beta left out of the end's energy", "end.base + beta * end.slope", "end.base + end.slope"),
        ("beta left out of the gradient", "(base + beta * slope).sum()", "(base + slope).sum()"),
        ("momentum of standard deviation 1.1", "torch.randn_like(state.u)", "1.1 * torch.randn_like(state.u)"),
        ("step scaled at the end alone", "u + stride * momentum, batch", "u + 1.1 * stride * momentum, batch"),
    ],
    ("inference/estimators/annealing/ais.py", _ANNEALING): [
        (
            "weight taken after the move",
            "if not backwards:\n            log_weight += width * state.slope",
            "if backwards:\n            log_weight += width * state.slope",
        ),
        (
            "weight of a width too many",
            "width = betas[place] - betas[place - 1]",
            "width = betas[place] - 0.98 * betas[place - 1]",
        ),
        ("mean of logarithms", "LogMean(mean, torch.maximum(", "LogMean(log_weight.mean(0), torch.maximum("),
        ("errors half as large", "torch.maximum(error, torch.minimum(normal, _RAISED * error))", "0.5 * error"),
        ("draws not by weight", "weight = (log_weight - log_weight.amax(0)).exp()", "weight = (0 * log_weight).exp()"),
        (
            "draws by half the log weight",
            "weight = (log_weight - log_weight.amax(0)).exp()",
            "weight = (0.5 * (log_weight - log_weight.amax(0))).exp()",
        ),
    ],
    ("inference/estimators/annealing/tempered_smc.py", _ANNEALING): [
        ("resampling by 1.2 log weights", "ancestors = systematic(log_weight)", "ancestors = systematic(1.2 * log_weight)"),
        ("no resampling", "ancestors = systematic(log_weight)", "ancestors = systematic(0 * log_weight)"),
        ("evidence without the last temperature", "log_evidence += (", "log_evidence += (stage.beta < 1) * ("),
        ("weights of the sum, not the mean", "math.log(particles)).view", "0.95 * math.log(particles)).view"),
        ("ancestors of other islands", "+ first  # numbered", "# numbered"),
    ],
    ("inference/weights/resampling.py", f"{_I}/weights/test_resampling.py"): [
        ("one uniform number for half the particles", "(due - whole > uniform)", "(due - whole > 0.5)"),
        ("due by all particles but one", "(particles / last", "((particles - 1) / last"),
        ("effective size without the square", "weight.sum(0).square()", "weight.sum(0)"),
    ],
    (
        "inference/weights/divergence.py",
        "tests/test_active_units.py tests/inference/studies/test_latent_usage.py tests/inference/objectives",
    ): [
        (
            "sign of a sampled divergence of units",
            "q.log_prob(posterior.value) - p.log_prob(posterior.value)",
            "p.log_prob(posterior.value) - q.log_prob(posterior.value)",
        ),
        ("prior and guide exchanged", "kl_divergence(q, p)", "kl_divergence(p, q)"),
    ],
    ("inference/objectives/free_bits.py", f"{_I}/studies/test_latent_usage.py"): [
        ("free bits datum by datum", "structure).mean((0, 1))", "structure).mean(0)"),
        ("free bits of half the level", "(level - units)", "(0.5 * level - units)"),
    ],
    ("inference/objectives/elbo.py", f"{_I}/studies/test_latent_usage.py {_OBJECTIVES} {_ESTIMATORS}"): [
        (
            "free bits detached",
            "return beta * missing_bits(run, structure, self.free_bits)",
            "return beta * missing_bits(run, structure, self.free_bits).detach()",
        ),
        ("beta left out of free bits", "return beta * missing_bits", "return missing_bits"),
        ("sum for the mean of particles", "return log_weight.mean(0)", "return log_weight.sum(0)"),
        (
            "free bits in an estimate",
            "return BlockEstimate(log_weight.mean(0),",
            "return BlockEstimate(log_weight.mean(0) - self.free_bits,",
        ),
        ("error without the root of draws", "/ self.draws**0.5", "/ self.draws"),
    ],
    ("inference/weights/terms.py", f"{_WEIGHTS} {_OBJECTIVES}"): [
        ("mask left out of a divergence in closed form", "divergence = posterior.masked(divergence)", "pass"),
        ("half precision summed as it is", "if value.dtype in _HALF:", "if False:"),
        ("scale left out of a divergence in closed form", "divergence = scaled(divergence, posterior, guide)", "pass"),
        ("local part of a joint weight not scaled", "self.local.sum(-1) * scale", "self.local.sum(-1)"),
        ("prior's term left out", "- scaled(prior.log_prob(), prior, model)", ""),
        ("plates averaged", "value.sum(summed)", "value.mean(summed)"),
        ("data plate's scale kept in the weight", "sites.scale if site.dim is not None else 1.0", "1.0"),
        (
            "beta on the likelihood",
            "return self.likelihood.minus(self.divergence, beta)",
            "return self.likelihood.minus(self.divergence)",
        ),
    ],
    ("inference/objectives/bound.py", _OBJECTIVES): [
        ("batch's length in place of the plate's size", "(found.run.model.plate_size or length(batch))", "length(batch)"),
        ("loss of all data", "-found.total / (found.run.model.plate_size or length(batch))", "-found.total"),
    ],
    ("inference/objectives/gradients/score_function.py", _OBJECTIVES): [
        ("VIMCO without its baseline", "- objective.bound(replaced), state", "- 0 * objective.bound(replaced), state"),
        (
            "VIMCO by the arithmetic mean",
            "replaced = torch.where(diagonal, others",
            "replaced = torch.where(diagonal, log_weight.logsumexp(0).expand_as(others)",
        ),
        ("joint score averaged", "value.sum(-1) if value.dim() > dims", "value.mean(-1) if value.dim() > dims"),
        (
            "running average takes the present step in",
            "return plain - total /",
            "return plain - carried['baseline.total'] /",
        ),
        ("signal of a sum", "return log_weight / len(log_weight), state", "return log_weight, state"),
        (
            "leave-one-out that leaves none out",
            "(log_weight.sum(0) - log_weight) / (count - 1)",
            "log_weight.mean(0).expand_as(log_weight)",
        ),
    ],
    ("inference/objectives/gradients/pathwise.py", _OBJECTIVES): [
        (
            "doubly reparameterized with another power",
            "((1 - order) * log_weight.detach()).softmax(0)",
            "log_weight.detach().softmax(0)",
        ),
        ("doubly reparameterized without the first term", "known.append(order + (1 - order)", "known.append((1 - order)"),
        ("score left in", "weighed.divergence = weighed.divergence.minus(score)", "pass"),
    ],
    ("inference/objectives/renyi.py", f"{_OBJECTIVES} {_ESTIMATORS}"): [
        ("order left out of the power", "return ((power * log_weight)", "return ((log_weight)"),
        ("error of all draws", "bounds.std(0) / self.draws**0.5", "bounds.std(0) / self.particles_per_datum**0.5"),
        ("sum for the mean of weights", "- math.log(log_weight.shape[0])", ""),
    ],
    ("inference/estimators/importance.py", f"{_ESTIMATORS} {_WEIGHTS}"): [
        ("smoothed and plain exchanged", "if self.smoothing else log_weight)", "if not self.smoothing else log_weight)"),
        ("missed mass never told", "excess > 0, -torch.expm1", "excess > 1e9, -torch.expm1"),
        ("missed mass of the other sign", "mean.value - alone.value - central", "alone.value - mean.value - central"),
        ("narrow guides not flagged", "flagged = flagged | (curvature > _NARROW)", "flagged = flagged | (curvature > 9)"),
        ("kinds exchanged", '"consistent" if self.smoothing else "lower"', '"lower" if self.smoothing else "consistent"'),
        ("draws without weights", "(log_weight - total).exp().T", "(0 * log_weight).exp().T"),
        ("reservoir keeps the first buffer", "replace = torch.rand(", "replace = 0 * torch.rand("),
        (
            "reservoir replaces by half",
            "(total - self.total).exp()\n        for",
            "0.5 * (total - self.total).exp()\n        for",
        ),
        ("bound of the curve by the mean", "bound = grouped.logsumexp(0) - math.log(k)", "bound = grouped.mean(0)"),
    ],
    ("inference/weights/defensive.py", f"{_I}/estimators/test_defensive.py"): [
        ("shares of the mixture exchanged", "math.log1p(-share) + likelihood", "math.log(share) + likelihood"),
        ("share of the prior left out", "inside.new_full((), math.log(share))", "inside.new_zeros(())"),
        (
            "prior's particles weighed as the guide's",
            "        chunk.log_weight = _mixed(chunk, share)\n        yield chunk, None",
            "        yield chunk, None",
        ),
        (
            "guide's particles weighed alone",
            "            chunk.log_weight = _mixed(chunk, share)\n        yield chunk, own",
            "            pass\n        yield chunk, own",
        ),
        ("curvature of the raw moments", "- product - product.transpose(1, 2)", ""),
        ("curvature without the mean weight", "cube - weight[:, None, None] * square", "cube"),
    ],
    ("inference/estimators/estimate.py", f"{_I}/estimators/test_defensive.py"): [
        (
            "upper end below upper end",
            "return self.interval(level)[1] < low",
            "return self.interval(level)[1] < other.interval(level)[1]",
        ),
        (
            "no bound for the untrusted",
            "torch.where(other.untrusted(), by_markov,",
            "torch.where(other.untrusted(), other.log_prob,",
        ),
    ],
    ("pyrogen/pareto.py", f"{_ESTIMATORS} {_WEIGHTS}"): [
        ("k-hat without its prior", "(count * shape + 5.0) / (count + 10.0)", "shape"),
        ("tail without its cutoff", ".exp() - cutoff[columns].exp()", ".exp()"),
        ("effective size of another power", "(-(2 * (log_weight - total))", "(-(1.5 * (log_weight - total))"),
        ("error without the finite correction", "(1 / ess - 1 / count)", "(1 / ess)"),
    ],
    ("pyrogen/distributions/discretized_logistic.py", _DISTRIBUTIONS): [
        (
            "offset of 0.49 in the mean",
            "total = total + torch.sigmoid((centre - (index + 0.5))",
            "total = total + torch.sigmoid((centre - (index + 0.49))",
        ),
        (
            "offset of 0.49 in the variance",
            "(2 * (index - mean) + 1) * torch.sigmoid((centre - (index + 0.5)) * rate)",
            "(2 * (index - mean) + 1) * torch.sigmoid((centre - (index + 0.49)) * rate)",
        ),
        ("upper edge of 0.49", "logsigmoid((index + 0.5 - centre) * rate)", "logsigmoid((index + 0.49 - centre) * rate)"),
        ("width left out", "+ torch.log(-torch.expm1(-rate))", ""),
        ("draws of another scale", "self.loc + self.scale * torch.logit", "self.loc + 1.02 * self.scale * torch.logit"),
    ],
    ("pyrogen/distributions/families/mixtures.py", _DISTRIBUTIONS): [
        ("couplings without tanh", "[x.tanh() for x in", "[x for x in"),
        ("couplings of the wrong channel", "couplings[first + before]", "couplings[first]"),
        ("weights not normalised", "total = logits.log_softmax(1)", "total = logits"),
        ("scale not halved", ".exp() / 2", ".exp()"),
        ("noise of one channel for all", "noise[:, channel + 1, None]", "noise[:, 1, None]"),
        ("draws of another scale", "quantile = sqrt(2) * torch.erfinv", "quantile = 1.38 * torch.erfinv"),
        ("component by the noise of a channel", "choose(logits, noise[:, :1], 1)[:,", "choose(logits, noise[:, 1:2], 1)[:,"),
    ],
    ("pyrogen/distributions/families/discrete.py", _DISTRIBUTIONS): [
        ("draws the other value", "noise < torch.sigmoid(parameters)", "noise > torch.sigmoid(parameters)"),
        ("draws by half the logit", "noise < torch.sigmoid(parameters)", "noise < torch.sigmoid(0.9 * parameters)"),
    ],
    ("pyrogen/distributions/families/conditional.py", _DISTRIBUTIONS): [
        ("choice from one on", "(reached <= noise *", "(reached <= 0.97 * noise *"),
    ],
    ("inference/estimators/cubo.py", f"{_I}/estimators/test_upper_bounds.py {_ESTIMATORS}"): [
        ("powers not taken", "powers = self.order *", "powers ="),
        ("root not taken", "return BlockEstimate(log_prob / self.order", "return BlockEstimate(log_prob"),
        ("error not divided", "standard_error / self.order", "standard_error"),
    ],
    ("inference/estimators/latent_density.py", f"{_I}/estimators/test_latent_density.py {_ANNEALING}"): [
        (
            "volume left out of the base",
            "return Terms(log_prior + volume, log_likelihood)",
            "return Terms(log_prior, log_likelihood)",
        ),
        ("volume left out, from the guide", "return Terms(log_guide + volume,", "return Terms(log_guide,"),
        ("prior left out, from the guide", "log_likelihood + log_prior - log_guide)", "log_likelihood - log_guide)"),
        ("volume of the inverse", "volumes.append(reduce_site(volume,", "volumes.append(-reduce_site(volume,"),
    ],
    ("inference/estimators/mcmc/bridge_sampling.py", f"{_I}/estimators/test_nuts.py"): [
        (
            "shares exchanged",
            "ours, theirs = math.log(share), math.log1p(-share)",
            "theirs, ours = math.log(share), math.log1p(-share)",
        ),
        ("count of draws left out", "- math.log(len(of_points))\n", "- math.log(0.98 * len(of_points))\n"),
        (
            "proposal fitted to the draws it is used on",
            "fitted, used = values.detach().tensor_split([draws // 2], dim=1)",
            "fitted = used = values.detach()",
        ),
        ("error of the points alone", "variance = variance + at_draws.var()", "variance = variance + 0 * at_draws.var()"),
        ("stray points left in", "torch.where(strays, -math.inf, at_points)", "torch.where(strays, 0.0, at_points)"),
    ],
    ("inference/estimators/filtering/islands.py", f"{_I}/estimators/test_filtering.py"): [
        ("evidence of the sum", "self.weight.logsumexp(0) - math.log(particles), 0.0)", "self.weight.logsumexp(0), 0.0)"),
        ("weights kept after resampling", "self.weight = torch.where(chosen, 0.0, self.weight)", "pass"),
        (
            "guide's density added",
            "terms[steps[name]].append(-self._term(site))",
            "terms[steps[name]].append(self._term(site))",
        ),
        ("resampling by half the log weight", "drawn = systematic(self.weight.", "drawn = systematic((0.5 * self.weight)."),
        ("islands exchange ancestors", "(ancestors * islands + offset)", "(ancestors * islands + 0 * offset)"),
        ("last weights of the sum", "total = self.weight - math.log(self.shape[0])", "total = self.weight"),
    ],
    ("inference/studies/brackets.py", f"{_ANNEALING} tests/inference/studies"): [
        ("upper bound from the mean weight", "-log_normal_mean(-back", "log_normal_mean(back"),
        ("margin of the level itself", "margin = math.log(2 / (1 - level))", "margin = math.log(1 / (1 - level))"),
        ("interval without the data's error", "+ quantile * self.gap[1]", "+ 0 * quantile * self.gap[1]"),
    ],
    ("inference/studies/sbc_ranks.py", f"{_I}/studies/test_simulation_based_calibration.py"): [
        (
            "ties always low",
            "torch.rand(equal[name].shape, device=good.device) * (equal",
            "0 * torch.rand(equal[name].shape, device=good.device) * (equal",
        ),
        ("ranks upside down", "(drawn < truth).sum(0)", "(drawn > truth).sum(0)"),
        ("coverage of another interval", "outside = round((1 - level) / 2 *", "outside = round((1 - level) *"),
    ],
    ("inference/studies/uniformity.py", f"{_I}/studies/test_simulation_based_calibration.py"): [
        ("one-sided tails", "np.minimum(1.0, 2 * np.minimum(below, above))", "np.minimum(1.0, below)"),
        (
            "location by another error",
            "location = shift / math.sqrt(second / count)",
            "location = shift / math.sqrt(second)",
        ),
        ("variance without its centre", "varies = fourth - second**2", "varies = fourth"),
        (
            "Holm without its factor",
            "np.minimum(1.0, np.arange(len(order), 0, -1) * np",
            "np.minimum(1.0, np.ones(len(order)) * np",
        ),
        ("mirror of the ranks left out", "counts[::-1][:half]", "counts[half : 2 * half]"),
    ],
    ("inference/estimators/standard_errors.py", f"{_ESTIMATORS} inference/estimators/standard_errors.py"): [
        ("one-sided quantile", "torch.tensor((1 + level) / 2, dtype", "torch.tensor(level, dtype"),
        ("quantile of Student's one-sided", "t.ppf((1 + level) / 2, freedom)", "t.ppf(level, freedom)"),
        ("error of one datum", "values.std() / len(values) ** 0.5", "values.std()"),
    ],
    ("pyrogen/distributions/ensemble.py", f"{_DISTRIBUTIONS} tests/distributions/test_ensemble.py"): [
        ("average of log probabilities", "return each.logsumexp(0) - math.log(len(self.members))", "return each.mean(0)"),
        ("number of members left out", " - math.log(len(self.members))", ""),
    ],
    ("pyrogen/distributions/bayesian_network.py", f"{_DISTRIBUTIONS} tests/distributions/test_bayesian_network.py"): [
        ("marginal not conditioned", "return (joint - log_evidence).exp()", "return joint.exp()"),
        (
            "evidence by the maximum",
            "return joint.logsumexp(tuple(range(len(batch)",
            "return joint.amax(tuple(range(len(batch)",
        ),
    ],
    ("pyrogen/distributions/continuous_bernoulli.py", f"{_DISTRIBUTIONS} tests/distributions/test_other_distributions.py"): [
        (
            "normalizer of the series dropped",
            "near = self.logits * (value - 0.5) - _series",
            "near = self.logits * (value - 0.5) - 0 * _series",
        ),
        ("normalizer of half the size", "torch.log(-torch.expm1(-size) / size)", "torch.log(-torch.expm1(-size))"),
        ("draws not mirrored", "return torch.where(self.logits > 0, 1 - decreasing, decreasing)", "return decreasing"),
        ("mean not mirrored", "torch.where(self.logits > 0, far, 1 - far)", "far"),
    ],
    ("pyrogen/nets/causal/triangular_linear.py", "tests/contracts/test_causal_networks.py tests/nets/test_made.py"): [
        ("mask left out", "weight * mask, bias", "weight, bias"),
        (
            "bias of other rows",
            "None if self.bias is None else self.bias[start:end])",
            "None if self.bias is None else self.bias[: end - start])",
        ),
    ],
    (
        "pyrogen/nets/causal/made.py",
        "tests/contracts/test_causal_networks.py tests/contracts/test_chain_rule.py tests/nets/test_made.py",
    ): [
        (
            "head sees its own rank",
            "[bisect_left(below, rank) for rank in output_ranks]",
            "[bisect_right(below, rank) for rank in output_ranks]",
        ),
        (
            "skip sees its own rank",
            "[bisect_left(input_ranks, rank) for rank in output_ranks]",
            "[bisect_right(input_ranks, rank) for rank in output_ranks]",
        ),
        ("units see too little", "[bisect_right(below, d) for d in degrees]", "[bisect_left(below, d) for d in degrees]"),
        ("context left out of the sampler's head", "parameters + offsets[-1][:, outputs]", "parameters"),
    ],
    (
        "pyrogen/nets/causal/nade.py",
        "tests/contracts/test_causal_networks.py tests/contracts/test_chain_rule.py tests/nets/test_nade.py",
    ): [
        ("sees itself", "F.pad(added.cumsum(1), (0, 0, 1, 0))", "F.pad(added.cumsum(1), (0, 0, 0, 1))"),
        ("bias of the first positions in a step", "self.bias[start:end].T", "self.bias[: end - start].T"),
    ],
    (
        "pyrogen/nets/causal/gated_convolution.py",
        "tests/contracts/test_causal_networks.py tests/contracts/test_chain_rule.py",
    ): [
        (
            "vertical stack sees its own row",
            "x[:, :, : x.shape[2] - shift], (0, 0, self.reach + shift, 0)",
            "x, (0, 0, self.reach, 0)",
        ),
        (
            "horizontal stack sees its own pixel",
            "x[..., : x.shape[-1] - shift], (self.reach + shift, 0)",
            "x, (self.reach, 0)",
        ),
    ],
    ("models/linear_gaussian.py", "tests/contracts/test_pairs.py tests/models"): [
        ("trace left out of the bound", "return reconstruction - spread / 2 - kl", "return reconstruction - kl"),
        (
            "variance of half the noise",
            "(self.bias, self.weight, (2 * self.log_noise).exp())",
            "(self.bias, self.weight, self.log_noise.exp())",
        ),
        (
            "prior's precision left out",
            "+ self.prior.scale.diag_embed()  # (latent",
            "+ 0.9 * self.prior.scale.diag_embed()  # (latent",
        ),
    ],
    ("models/beta_bernoulli.py", "tests/contracts/test_pairs.py tests/models"): [
        (
            "posterior without the prior's counts",
            "_beta(self.log_prior.exp() + self._counts(x))",
            "_beta(1.0 + 0 * self.log_prior.exp() + self._counts(x))",
        ),
        ("evidence not normalised", "- _log_beta(prior)\n\n    def posterior", "\n\n    def posterior"),
    ],
    (
        "models/hidden_markov.py",
        "tests/contracts/test_pairs.py tests/models tests/inference/estimators/test_enumeration.py",
    ): [
        (
            "transition transposed",
            "joint = (joint.unsqueeze(-1) + transition).logsumexp(-2)",
            "joint = (joint.unsqueeze(-1) + transition.mT).logsumexp(-2)",
        ),
        ("posterior of the filter", "+ torch.stack(after[::-1], 1)", ""),
        ("posterior in the wrong order", "torch.stack(after[::-1], 1)", "torch.stack(after, 1)"),
    ],
    (
        "models/linear_gaussian_state_space.py",
        "tests/contracts/test_pairs.py tests/models tests/inference/estimators/test_filtering.py",
    ): [
        ("drift left out", "@ self.transition.mT + drift.diag_embed()", "@ self.transition.mT + 0.9 * drift.diag_embed()"),
        ("mean not updated", "mean = mean + (seen - expected)", "mean = mean + 0.95 * (seen - expected)"),
        ("entropy left out", "- trace / 2 + entropy", "- trace / 2"),
    ],
}

FAULTS = [Fault(path, tests, title, right, wrong) for (path, tests), rows in _TABLE.items() for title, right, wrong in rows]
