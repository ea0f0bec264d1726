"""Describe data: rows, shapes, range, binarization.

SOURCE is digits, mnist:DIRECTORY, idx:FILE, FILE.npy, FILE.npz, FILE.csv, FILE.parquet, images:DIRECTORY, openml:NAME or
synthetic:DISTRIBUTION?OPTION=NUMBER,...
"""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from .options import add_data_options, load_data

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("source", metavar="SOURCE", type=str, help="where the data come from; see above")
    add_data_options(parser)


def run(options: Namespace) -> None:
    """Load and describe.

    Raises:
        PyrogenError: the source is unknown, or cannot serve as data.
    """
    dataset = load_data(options.source, options)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    values = dataset.train.values
    ones = float(((values == 0) | (values == 1)).double().mean())
    facts = {
        "shape": f"{dataset.shape}, {dataset.train.dimensions} values a datum",
        "rows": ", ".join(f"{0 if split is None else len(split):,} {name}" for name, split in splits.items()),
        "binarization": dataset.train.binarize,
        "values": f"{float(values.min()):g} to {float(values.max()):g}, mean {float(values.double().mean()):.4g}, "
        f"{ones:.1%} of them 0 or 1",
        "density": "not known" if dataset.density is None else f"known: {dataset.density}",
    }
    if dataset.train.labels is not None:
        labels = set(dataset.train.labels.tolist())
        facts["labels"] = f"{len(labels)} classes, {min(labels)} to {max(labels)}"
    print(f"{dataset.name}: {dataset.description}")
    for name, text in facts.items():
        print(f"  {name:<14}{text}")
