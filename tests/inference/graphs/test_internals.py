"""The private names that the engine leans on, and that it leaves torch and Pyro as they were."""

from __future__ import annotations

import functools
import importlib
import threading
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.util import torch_item
from torch import Tensor

from pyrogen import Pair
from pyrogen.inference import ELBO, compiled_svi
from pyrogen.inference.graphs import CompilerMissing
from pyrogen.inference.graphs.compiled_function import CompiledFunction
from pyrogen.inference.graphs.internals import compile_errors, fused_adam, has_onednn_linear, onednn_linear, quiet_pyro
from pyrogen.models import LinearGaussianVAE

NAMES = [
    "torch._C._get_tracing_state",
    "torch._inductor.standalone_compile",
    "torch._inductor.config.cpp.cxx",
    "torch._inductor.config.fallback_random",
    "torch._inductor.exc.InvalidCxxCompiler",
    "torch._inductor.exc.CppCompileError",
    "torch._fused_adam_",
    "torch._fused_adamw_",
    "torch._is_all_true",
    "torch.fx.experimental.proxy_tensor.make_fx",
    "torch.func.functional_call",
    "torch.optim.Adam._optimizer_step_pre_hooks",
    "torch.overrides.TorchFunctionMode",
    "pyro.util.torch_isnan",
    "pyro.ops.provenance.detach_provenance",
    "pyro.poutine.messenger.Messenger._postprocess_message",
    "pyro.infer.trace_elbo.Trace_ELBO.differentiable_loss",
]


def exists(name):
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for part in parts[end:]:
            if part == "_optimizer_step_pre_hooks":
                found = found([torch.zeros(1, requires_grad=True)])
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("name", NAMES)
def test_private_names_are_where_they_were(name):
    library = torch if name.startswith("torch") else pyro
    assert exists(name), (
        f"{name} is gone in {library.__name__} {library.__version__}: find what took its place and change "
        "inference/graphs/internals.py, which alone may use it"
    )


def test_a_name_that_is_gone_would_be_noticed():
    assert not exists("torch._C._no_such_name")
    assert not exists("torch._no_such_module.name")


def test_the_baseline_s_name_is_pyro_s():
    """`PyroLoss` finds Pyro's running averages by their names."""
    from pyro.infer import tracegraph_elbo

    from pyrogen.inference.objectives import pyro_loss

    with open(tracegraph_elbo.__file__) as file:
        assert pyro_loss._BASELINE in file.read(), f"Pyro {pyro.__version__} calls its running averages otherwise"


def state():
    return (
        torch._C._get_tracing_state,
        pyro.util.torch_isnan,
        Tensor.item,
        pyro.settings.get("validate_distributions_pyro"),
        pyro.settings.get("validate_distributions_torch"),
        pyro.settings.get("validate_poutine"),
        pyro.settings.get("validate_infer"),
        torch.is_grad_enabled(),
        len(torch.overrides._get_current_function_mode_stack()),
    )


@pytest.mark.parametrize("validating", [True, False])
def test_all_is_put_back(validating):
    with pyro.validation_enabled(validating):
        before = state()
        with quiet_pyro():
            assert state() != before
        assert state() == before
        with pytest.raises(ZeroDivisionError), quiet_pyro(), quiet_pyro():
            raise ZeroDivisionError
        assert state() == before


def test_all_is_put_back_by_a_step_and_by_one_that_fails():
    class Fails(LinearGaussianVAE):
        def model(self, x):
            if self.training and torch.is_grad_enabled():
                raise ZeroDivisionError
            super().model(x)

    x = torch.zeros(4, 3)
    before, store = state(), dict(pyro.get_param_store().items())
    for make, error in ((LinearGaussianVAE, None), (Fails, ZeroDivisionError)):
        step = compiled_svi(make((3,), latent=2), ELBO(), torch.optim.Adam, x, compile="graph")
        if error is None:
            step(x)
        else:
            with pytest.raises(error):
                step(x)
        assert state() == before
        assert dict(pyro.get_param_store().items()) == store


def test_only_pyro_s_own_reads_are_kept_from_the_host():
    value = torch.tensor(2.0)
    with quiet_pyro():
        assert isinstance(value.item(), float)  # ours
        assert torch._C._get_tracing_state() is None
        assert torch_item(value).__class__ is Tensor  # Pyro's
        assert not pyro.util.torch_isnan(torch.tensor(float("nan")))


def test_what_was_built_while_validation_was_on_is_not_read():
    """A prior made before the run, and one that is told to validate, ask for values of their own accord."""
    prior = dist.Normal(torch.zeros(2), torch.ones(2), validate_args=True).to_event(1)

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior)
            pyro.sample("x", dist.Normal(z, torch.ones(2), validate_args=True).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x * pyro.param("slope", torch.tensor(0.5)), 1.0).to_event(1))

    x = torch.ones(4, 2)
    step = compiled_svi(Pair.of(model, guide), ELBO(), torch.optim.Adam, x, compile="graph")
    assert torch.isfinite(step(x))


def test_kernels_of_adam_are_those_of_the_optimizers():
    for decoupled, kind in ((False, torch.optim.Adam), (True, torch.optim.AdamW)):
        torch.manual_seed(0)
        ours, theirs = torch.randn(5), torch.nn.Parameter(torch.empty(5))
        theirs.data.copy_(ours)
        moments, steps = [torch.zeros(5), torch.zeros(5)], torch.zeros(())
        optimizer = kind([theirs], lr=0.1, weight_decay=0.2, fused=True)
        for _ in range(3):
            theirs.grad = gradient = torch.randn(5)
            optimizer.step()
            steps += 1
            options = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.2, "eps": 1e-8}
            fused_adam(decoupled)(
                [ours], [gradient], [moments[0]], [moments[1]], [], [steps], **options, amsgrad=False, maximize=False
            )
            torch.testing.assert_close(ours, theirs.detach())


@pytest.mark.skipif(not has_onednn_linear(), reason="this build of torch has no oneDNN")
def test_linear_by_onednn_is_a_product():
    torch.manual_seed(0)
    x, weight, bias = torch.randn(5, 7), torch.randn(3, 7), torch.randn(3)
    torch.testing.assert_close(onednn_linear(x, weight, None), x @ weight.T)
    torch.testing.assert_close(onednn_linear(x, weight, bias), x @ weight.T + bias)


def forget_the_compiler():
    from torch._inductor import cpp_builder

    for name in ("get_cpp_compiler", "get_compiler_version_info", "is_gcc", "is_clang"):
        if hasattr(getattr(cpp_builder, name, None), "cache_clear"):
            getattr(cpp_builder, name).cache_clear()


@pytest.fixture
def no_compiler(monkeypatch, tmp_path, inductor):
    """No C++ compiler, and nothing that one has left in a cache."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with inductor.config.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}):
        forget_the_compiler()
        yield
    forget_the_compiler()


def test_no_compiler_is_named_with_its_remedy(no_compiler):
    x = torch.zeros(4, 3)
    step = compiled_svi(LinearGaussianVAE((3,), latent=2), ELBO(), torch.optim.Adam, x, compile=True)
    with pytest.raises(CompilerMissing, match=r"apt-get install g\+\+.*compile='graph', which needs no compiler"):
        step(x)


def test_auto_runs_the_graph_where_there_is_no_compiler(no_compiler, monkeypatch):
    monkeypatch.setattr("pyrogen.inference.graphs.compiled_function._COMPILE_SECONDS", -1.0)  # as if it would pay
    x, losses = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), {}
    for compile in ("graph", "auto"):
        torch.manual_seed(0)
        pair = LinearGaussianVAE((3,), latent=2)
        step = compiled_svi(pair, ELBO(), functools.partial(torch.optim.Adam, lr=0.1), x, compile=compile)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            losses[compile] = [step(x).item() for _ in range(4)]
            losses[compile].append(step(x[:2]).item())
    assert losses["auto"] == pytest.approx(losses["graph"], rel=1e-6)
    assert [str(warning.message)[:60] for warning in caught] == [
        "compile='auto' runs the recorded graph without compiling it: "[:60]
    ]
    report = step.report
    assert (report.backend, report.fallback, report.compilations) == ("graph", None, 0)
    assert "apt-get install" in report.uncompiled


@pytest.mark.parametrize("failing", [False, True])
def test_a_shape_is_compiled_once_it_has_come_up_often_enough(monkeypatch, failing):
    """With what stands in for the compiler."""
    from pyrogen.inference.graphs import compiled_function as function
    from pyrogen.inference.graphs.tracing import PureProgram

    original, built = function.build, []

    def build(graph, example, backend):
        built.append(backend)
        if failing and backend == "inductor":
            raise CompilerMissing("none here")
        found = original(graph, example, "graph")
        found.backend = backend
        return found

    monkeypatch.setattr(function, "build", build)
    monkeypatch.setattr(function, "_COMPILE_SECONDS", -1.0)
    pair, report = LinearGaussianVAE((3,), latent=2), function.CompileReport()
    run = CompiledFunction(
        pair,
        lambda pair, x: {"sum": x.sum() + pair.loc.sum() if hasattr(pair, "loc") else x.sum()},
        "auto",
        report,
        differs=lambda one, other: None if torch.allclose(one["sum"], other["sum"]) else "sum",
        calls=10,
        compile_after=(3, 2),
    )
    assert isinstance(PureProgram(pair, run.function).tensors(), list)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for rows in (4, 4, 4, 4, 4, 2, 2, 2):
            assert run([torch.ones(rows, 3)])[1][0].item() == 3 * rows
    assert built[:2] == ["graph", "inductor"]
    if failing:
        assert built == ["graph", "inductor", "graph", "graph"]
        assert len(caught) == 1
        assert report.compilations == 0
        assert report.modes == {"4x3": "graph", "2x3": "graph"}
    else:
        assert built == ["graph", "inductor", "graph", "inductor"]
        assert report.compilations == 2
        assert report.modes == {"4x3": "inductor", "2x3": "inductor"}
        assert report.checks == 4 + 3  # at calls 0, 1, 2 and, of what was compiled, 3; at 0, 1 and, of what was compiled, 2


def test_the_compiler_s_errors_have_names():
    assert len(compile_errors()) == 2


def test_threads_of_others_see_nothing_of_it():
    """Only the thread that records is kept from reading."""
    seen = []

    def other():
        seen.append(torch.tensor(1.0).item())

    with quiet_pyro():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen == [1.0]
