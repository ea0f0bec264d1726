"""The table says every number with its error, and marks what is not to be trusted."""

import io

import pytest
from rich.console import Console

from pyrogen.errors import DataError
from pyrogen.report import format_table, print_table, table
from pyrogen.report.wording import cells, count, duration, failings, heading, measured

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (-30.0962, 0.0213, "-30.096 ± 0.021"),
        (-30.0962, 0.0097, "-30.096 ± 0.010"),
        (-30.0962, 0.67, "-30.1 ± 0.7"),
        (-30.0962, 0.37, "-30.10 ± 0.37"),
        (-3012.4, 14.2, "-3012 ± 14"),
        (-30.0962, 1e-9, "-30.0962 ± <0.0001"),
        (-30.0962, 0.0, "-30.096 ± 0"),
        (-30.0962, None, "-30.10 ± ?"),
        (-30.0962, NAN, "-30.10 ± ?"),
        (-30.0962, INF, "-30.10 ± inf"),
        (-INF, 0.1, "-inf"),
        (NAN, 0.1, "not a number"),
        (None, 0.1, "not a number"),
    ],
)
def test_a_number_is_said_with_its_error(value, error, words):
    assert measured(value, error) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (None, "–"),
        (NAN, "–"),
        (0, "0"),
        (999, "999"),
        (999.6, "1 k"),
        (18000, "18 k"),
        (1_800_000, "1.8 M"),
        (2e15, "2e+03 T"),
    ],
)
def test_counts_are_said_for_people(number, words):
    assert count(number) == words


@pytest.mark.parametrize(("seconds", "words"), [(None, "–"), (0.412, "0.41"), (41.23, "41.2"), (1234.5, "1,234")])
def test_durations_keep_the_digits_that_matter(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"error": 0.0}, None),
        ({"worst_khat": 0.7}, None),
        ({"worst_khat": 0.71}, "k-hat is 0.71"),
        ({"worst_khat": INF}, "k-hat is inf"),
        ({"worst_khat": NAN}, "could not be computed"),
        ({"error": None}, "no finite standard error"),
        ({"error": NAN}, "no finite standard error"),
        ({"nats": NAN}, "not a finite number"),
        ({"nats": None}, "not a finite number"),
        ({"warnings": ["few particles"]}, "few particles"),
    ],
)
def test_what_fails_is_marked_with_its_reason(row, changes, reason):
    one = row(**changes)
    reasons = failings(one)
    assert cells(one)["nats"].endswith(" !") == (reason is not None)
    if reason is None:
        assert reasons == []
    else:
        assert len(reasons) == 1
        assert reason in reasons[0]


def test_the_estimators_own_word_on_k_hat_is_not_repeated(row):
    assert failings(row(worst_khat=0.9, warnings=["2 of 6 have k-hat above 0.7"])) == ["2 of 6 have k-hat above 0.7"]
    assert len(failings(row(worst_khat=0.9, warnings=["slow"]))) == 2


def test_the_cells_of_a_row(record):
    assert cells(record["rows"][2]) == {
        "name": "PSIS",
        "kind": "consistent",
        "nats": "-30.1000 ± 0.0020 !",
        "spread": "0.61",
        "bits": "0.704",
        "khat": "0.93 !",
        "share": "33 %",
        "ess": "812 / 1.2",
        "evaluations": "1.8 M",
        "seconds": "1,234",
    }
    assert cells(record["rows"][0])["ess"] == cells(record["rows"][0])["khat"] == "–"


@pytest.mark.parametrize(("share", "words"), [(0.0, "0 %"), (0.0001, "<1 %"), (0.333, "33 %"), (1.0, "100 %")])
def test_one_bad_datum_is_not_rounded_away(row, share, words):
    assert cells(row(share_khat_above=share))["share"] == words


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_text_fits_and_holds_everything(record, width):
    text = format_table(record, width)
    assert max(map(len, text.splitlines())) <= width
    flat = " ".join(text.split())
    assert heading(record) in flat
    assert "binarization: dynamic" in flat
    for one in record["rows"]:
        # Nothing is cut or broken in the middle.
        for words in cells(one).values():
            assert words in text
    assert "! PSIS: the worst k-hat is 0.93" in flat
    assert flat.endswith(record["sentences"][0])
    assert "\x1b" not in text


def test_the_table_is_full_where_it_fits_and_compact_where_not(record):
    full, narrow = format_table(record, 120).splitlines(), format_table(record, 80).splitlines()
    (line,) = [line for line in full if line.startswith("PSIS")]
    assert "consistent" in line
    assert "1.8 M" in line
    (line,) = [line for line in narrow if line.startswith("PSIS")]
    assert "consistent" not in line


def test_a_table_is_a_rich_table(record):
    assert table(record).row_count == len(record["rows"])
    assert len(table(record).columns) == 10
    assert table({**record, "rows": [], "estimates": []}).row_count == 0


def test_names_are_neither_markup_nor_terminal_commands(record, row):
    names = ["[red]x[/red]", "[/]", "a\x1b[2Jb\nc", "very long " * 12]
    record.update(rows=[row(name, warnings=["[/bold] oops"]) for name in names], estimates=[], sentences=["[/] \x1b[0m"])
    text = format_table(record, 80)
    assert "[red]x[/red]" in text
    assert "[/bold] oops" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_print_table_prints_what_format_table_writes(record):
    text = io.StringIO()
    print_table(record, Console(file=text, width=110, color_system=None))
    assert [line.rstrip() for line in text.getvalue().splitlines()] == format_table(record, 110).splitlines()


def test_a_damaged_record_is_refused():
    with pytest.raises(DataError, match="no 'rows'"):
        format_table({})
