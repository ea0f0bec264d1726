"""``lda.py``: latent Dirichlet allocation, the topics of whose words Pyro sums out."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from types import ModuleType
from typing import Any

import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from pyrogen.pair import Pair

from .attempt import Attempt, Example, Refusal

__all__ = ["LDA"]

_SHARED = Refusal(
    r"'topic_weights' lies outside plate 'documents', so that all data share it.*'doc_topics' a single value \(Delta\)",
    "all documents share the topics, and the guide gives each document's own a point: there is no log p(x) of one document.",
)
_COLUMNS = Refusal(
    "plate 'documents' has size 40 where the batch has 12 rows",
    "the documents lie in columns, and the leading dimension of the batch is that of words.",
)
_NAMESPACE = Refusal(
    rf"holds a Namespace, by whose value no recorded graph can be chosen|{_COLUMNS.words}",
    "what an object holds may change unseen.",
)
_FINDINGS = {
    "PG126": "the example's plate and its assertion want all documents at once; its guide then draws some of them.",
    "PG301": "`topic_words[word_topics]` indexes the leftmost dimension, which is that of particles.",
    "PG601": "the example makes its tensors on the CPU.",
}
_AS_IT_STANDS = """
guide = functools.partial(parametrized_guide, make_predictor(args))  # as in the example
pair = Pair.of(model, guide, data_plate="documents")
batch = {"data": data, "args": args, "batch_size": 16}
objective = PyroLoss(TraceEnum_ELBO(max_plate_nesting=2))
"""
_TRANSPOSED = """
predictor = make_predictor(args)

def documents_model(documents, batch_size):
    return model(documents.T, args, batch_size)

def documents_guide(documents, batch_size):
    return parametrized_guide(predictor, documents.T, args, batch_size)

pair, batch = Pair.of(documents_model, documents_guide, data_plate="documents"), (data.T, 16)
objective = PyroLoss(TraceEnum_ELBO(max_plate_nesting=2))
"""


def _attempts(module: ModuleType) -> list[Attempt]:
    args = Namespace(num_topics=4, num_words=30, num_docs=40, num_words_per_doc=12, layer_sizes="10-10")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        data = module.model(args=args)[-1]  # (words, documents)
    guide = partial(module.parametrized_guide, module.make_predictor(args))
    predictor = module.make_predictor(args)

    def documents_model(documents: Tensor, batch_size: int) -> Any:
        return module.model(documents.T, args, batch_size)

    def documents_guide(documents: Tensor, batch_size: int) -> Any:
        return module.parametrized_guide(predictor, documents.T, args, batch_size)

    elbo = TraceEnum_ELBO(max_plate_nesting=2)
    return [
        Attempt(
            Pair.of(module.model, guide, data_plate="documents"),
            {"data": data, "args": args, "batch_size": 16},
            code=_AS_IT_STANDS,
            elbo=elbo,
            programs=(module.model, guide),
            refusals={"fit": _COLUMNS, "graph": _NAMESPACE, "compare": _COLUMNS},
            findings=_FINDINGS | {"PG108": _COLUMNS.why},
        ),
        Attempt(
            Pair.of(documents_model, documents_guide, data_plate="documents"),
            (data.T.contiguous(), 16),
            change="a document in each row",
            code=_TRANSPOSED,
            elbo=elbo,
            programs=(documents_model, documents_guide),
            batch_size=40,
            refusals={"compare": _SHARED},
            findings=_FINDINGS,
        ),
    ]


LDA = Example("lda.py", _attempts, note="Its guide draws 16 of the documents for each step from the whole batch.")
