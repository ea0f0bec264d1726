"""The rules of devices: what dies, waits or changes on a GPU is found, with its line; what does not is left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pyrogen.checks import RULES, check
from pyrogen.checks.examples import RIGHT, changed, load_example
from pyrogen.checks.fake_runs import on_fake_cuda, on_meta
from pyrogen.checks.simulated_step import simulate_step
from pyrogen.checks.subject import Subject
from pyrogen.models import VAE

DEVICES = [rule for rule in RULES if rule.code.startswith("PG6")]
ENCODED, DECODED = "encoder(x)", "decoder(z)"
HELD = "encoder, decoder ="

# (code, the line, what takes the place of the encoded data or of the decoded latent, what stands before the networks)
MIXED = {
    "a constant": ("PG601", 4, "decoder(z) + torch.ones(3)", ""),
    "numbers": ("PG601", 4, "decoder(z) + torch.tensor([1.0, 2.0, 3.0])", ""),
    "an integer range": ("PG601", 4, "decoder(z) + torch.arange(3)", ""),
    "in a product": ("PG601", 4, "decoder(z) @ torch.eye(3)", ""),
    "in a layer": ("PG601", 4, "nn.functional.linear(decoder(z), torch.eye(3))", ""),
    "in an index": ("PG601", 4, "decoder(z).gather(-1, torch.zeros(len(x), 3, dtype=torch.long))", ""),
    "among others": ("PG601", 4, "torch.cat([decoder(z)[:, :2], torch.zeros(len(x), 1)], -1)", ""),
    "named by hand": ("PG601", 4, "decoder(z) + torch.zeros(3, device='cpu')", ""),
    "brought back": ("PG601", 4, "decoder(z) + z.new_zeros(3).cpu()", ""),
    "a global": ("PG602", 4, "decoder(z) + held", "held = torch.ones(3)\n"),
    "in a list": ("PG602", 4, "decoder(z) + held[1]", "held = [1, torch.ones(3)]\n"),
    "in a dict": ("PG602", 4, "decoder(z) + held['shift']", "held = {'shift': torch.ones(3)}\n"),
    "of a called function": (
        "PG602",
        12,
        "shift(decoder(z))",
        "held = torch.ones(3)\ndef shift(h):\n    return h + held\n\n",
    ),
}
WAITING = {
    "item": ("PG604", 8, "encoder(x / x.square().sum().item())", ""),
    "float": ("PG604", 8, "encoder(x / float(x.square().sum()))", ""),
    "if": ("PG604", 8, "encoder(x if x.sum() < 1e6 else -x)", ""),
    "tolist": ("PG604", 8, "encoder(x * x.tolist()[0][0])", ""),
    "cpu": ("PG604", 8, "encoder(x.cpu().to(x.device))", ""),
    "to": ("PG604", 8, "encoder(x.to('cpu').to(x))", ""),
    "print": ("PG604", 8, "encoder(x * (1 if f'{x}' else 2))", ""),
    "a factorization": ("PG604", 8, "encoder(x * torch.linalg.cholesky(x.new_ones(1, 1)))", ""),
    "numpy": ("PG603", 8, "encoder(x.new_tensor(x.numpy()))", ""),
    "a mask": ("PG605", 8, "encoder(x + x[x > 0].sum())", ""),
    "nonzero": ("PG605", 8, "encoder(x + x.nonzero().shape[0])", ""),
    "unique": ("PG605", 8, "encoder(x + x.unique().sum())", ""),
    "where": ("PG605", 8, "encoder(x + torch.where(x > 0)[0].sum())", ""),
}
MOVING = {
    "a device asked for": "decoder(z) + torch.zeros(3, device=x.device)",
    "moved by name": "decoder(z) + torch.zeros(3).to(x.device)",
    "moved to another's": "decoder(z) + torch.zeros(3).to(z)",
    "of another's kind": "decoder(z) + torch.zeros(3).type_as(z)",
    "made from another": "decoder(z) + z.new_tensor([1.0, 2.0, 3.0]) + torch.full_like(z.sum(-1, keepdim=True), 2.0)",
    "without dimensions": "decoder(z) + torch.tensor(1.0)",
    "an index on the CPU": "decoder(z)[..., torch.tensor([2, 1, 0])]",
    "of integers": "decoder(z) + torch.eye(3, device=z.device).long().sum(0)",
    "one hot": "decoder(z) + nn.functional.one_hot(torch.zeros(3, device=z.device).long(), 3).sum(0)",
    "filled": "decoder(z).masked_fill(z.sum(-1, keepdim=True) > 9, 3.0)",
    "assigned to a mask": "fill(decoder(z))",
}
UNJUDGED = {"among others", "made from another", "an index on the CPU", "assigned to a mask", "one hot"}
"""A torch without CUDA can neither index nor fill a fake CUDA tensor from the host."""
FILL = "def fill(h):\n    h = h.clone()\n    h[h > 9] = 9.0\n    return h\n\n"


def source(passage, before=""):
    what = ENCODED if "encoder" in passage else DECODED
    return changed(RIGHT, (what, passage), (HELD, before + HELD))


def looked_at(text):
    pair, batch = load_example(text)
    report = check(pair, batch, select=["PG6"], device="cuda")
    assert not report.skipped
    return {(finding.code, finding.line) for finding in report.findings}


@pytest.mark.parametrize("rule", DEVICES, ids=lambda rule: rule.code)
def test_the_bad_pair_has_the_fault_and_the_fixed_one_has_nothing(rule):
    assert rule.code in {code for code, _ in looked_at(rule.bad)}
    assert not looked_at(rule.fixed)


@pytest.mark.parametrize("name", [*MIXED, *WAITING])
def test_a_fault_has_its_code_and_its_line(name):
    code, line, passage, before = {**MIXED, **WAITING}[name]
    assert (code, f"<example>:{line}") in looked_at(source(passage, before))


@pytest.mark.parametrize("name", MOVING)
def test_what_runs_on_a_gpu_is_left_alone(name):
    assert not looked_at(source(MOVING[name], FILL))


def test_a_distribution_that_is_held_is_found_where_it_is_used():
    held = "held = dist.Normal(torch.zeros(2), 1.0).to_event(1)\n"
    text = changed(RIGHT, ("dist.Normal(x.new_zeros(2), 1.0).to_event(1)", "held"), (HELD, held + HELD))
    assert looked_at(text) == {("PG602", "<example>:3")}


def test_a_prior_of_plain_numbers_stays_on_the_cpu():
    """Torch's Gamma takes a value to where its rate is, and what is wrong shows in the sum of the log densities."""
    for prior, guide in (("Normal(0, 1)", "Normal(encoder(x), 0.5)"), ("Gamma(1 / 2, 1.0)", "Gamma(encoder(x).exp(), 1.0)")):
        text = changed(RIGHT, ("Normal(x.new_zeros(2), 1.0)", f"{prior}.expand([2])"), ("Normal(encoder(x), 0.5)", guide))
        assert looked_at(text) == {("PG601", "<example>:3")}


def test_a_factor_of_no_datum_may_be_a_number_on_the_cpu():
    factor = "pyro.factor('free', torch.tensor(0.5))\n"
    assert not looked_at(changed(RIGHT, ("def model(x):\n", f"def model(x):\n    {factor}")))
    assert looked_at(changed(RIGHT, ("        z =", f"        {factor}        z ="))) == {("PG601", "<example>:3")}


def test_validation_that_a_program_asks_for_is_no_wait():
    assert not looked_at(changed(RIGHT, ("decoder(z), 1.0", "decoder(z), 1.0, validate_args=True")))


def test_all_faults_of_a_pair_are_found_in_one_run():
    text = changed(
        RIGHT,
        (DECODED, "decoder(z) + torch.ones(3)"),
        (ENCODED, "encoder(x / x.square().sum().item()) + held"),
        (HELD, "held = torch.ones(2)\n" + HELD),
    )
    assert {code for code, _ in looked_at(text)} == {"PG601", "PG602", "PG604"}


@pytest.mark.parametrize("name", [*MIXED, *MOVING])
def test_torch_itself_judges_the_same(name):
    """Where torch's own fake CUDA device comes to a verdict, the simulated one has the same."""
    text = source(MIXED[name][2], MIXED[name][3]) if name in MIXED else source(MOVING[name], FILL)
    subject = Subject(*load_example(text))
    verdict = on_fake_cuda(subject)
    if verdict.error is not None and not verdict.mixed:
        assert name in UNJUDGED
        return
    assert verdict.mixed == bool(simulate_step(subject).mixes)


def test_a_step_on_the_meta_device_needs_no_values():
    vae = VAE((9,), latent=2, hidden=(8,))
    assert on_meta(Subject(vae, torch.ones(8, 9))).error is None
    subject = Subject(*load_example(source(WAITING["item"][2])))
    assert on_meta(subject).read
    assert "item" in on_meta(subject).error


def test_a_simulated_step_leaves_the_pair_as_it_was():
    torch.manual_seed(0)
    vae, x = VAE((9,), latent=2, hidden=(8,)), torch.ones(16, 9)
    vae.encoder.net.append(nn.BatchNorm1d(4))
    vae.eval()
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    parameters, state = list(vae.parameters()), torch.get_rng_state()
    report = check(vae, x, select=["PG6"], device="cuda")
    assert report.ok
    assert torch.equal(torch.get_rng_state(), state)
    assert not vae.training
    assert all(now is then and now.grad is None for now, then in zip(vae.parameters(), parameters, strict=True))
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


def test_other_data_show_what_a_graph_would_freeze():
    same = changed(RIGHT, ("torch.randn(8, 3)", "torch.ones(16, 3)"), (ENCODED, "encoder(x * 2 if x[0, 0] > 0 else x)"))
    other = changed(same, ("torch.ones(16, 3)", "torch.linspace(1.0, -1.0, 48).reshape(16, 3)"))
    assert {code for code, _ in looked_at(same)} == {"PG604"}
    assert ("PG606", "<example>:8") in looked_at(other)


HIDDEN = """\
class Box:
    pass

box = Box()
box.inner = Box()
box.inner.net = nn.Linear(3, 2)
"""


def test_a_network_that_the_pair_does_not_hold_is_left_behind_unless_pyro_names_it():
    text = changed(RIGHT, (ENCODED, "box.inner.net(x)"), (HELD, HIDDEN + HELD))
    assert {code for code, _ in looked_at(text)} == {"PG601"}
    named = changed(text, ("def guide(x):", "def guide(x):\n    pyro.module('encoder', box.inner.net)"))
    assert not looked_at(named)  # its parameters are those of the pair, and move with it


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", [*MIXED, *MOVING])
def test_a_real_device_judges_the_same(name):
    text = source(MIXED[name][2], MIXED[name][3]) if name in MIXED else source(MOVING[name], FILL)
    pair, x = load_example(text)
    subject = Subject(pair, x)
    assert subject.refusal is None
    pair.cuda()
    moved = Subject(pair, x.cuda())
    with moved.running(training=True, gradients=True):
        if name in MIXED:
            with pytest.raises(RuntimeError, match="device"):
                moved.log_weight(*moved.run()).backward()
        else:
            moved.log_weight(*moved.run()).backward()
