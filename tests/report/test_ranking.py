"""No order of runs without a test that distinguishes them."""

from biasunlearn.report.tables.ranking import nearest_sentence

FAR = {"A": 1.0, "B": 2.0, "C": 9.0}


def test_one_run_is_nearest_only_if_tests_distinguish_it_from_all_others() -> None:
    said = nearest_sentence(FAR, [("A", "B"), ("A", "C")])
    assert said.startswith("A is nearest to 50, on average 1.0 points away") and "distinguish it from B, C" in said


def test_runs_that_no_test_distinguishes_have_no_order() -> None:
    assert nearest_sentence(FAR, [("A", "C"), ("B", "C")]) == (
        "No test distinguishes the distances from 50 of A, B (1.0 to 2.0 points on average over bias types); "
        "farther away: C."
    )
    assert "A, B, C" in nearest_sentence(FAR, []) and "farther" not in nearest_sentence(FAR, [])


def test_a_single_run_and_a_run_that_is_not_shown() -> None:
    assert nearest_sentence({"A": 1.0}, []) == "A is nearest to 50, on average 1.0 points away over bias types."
    assert nearest_sentence({"A": 1.0}, [("base model", "A")]).startswith("A is nearest")


def test_of_many_methods_a_sentence_has_their_number() -> None:
    many = {f"method {number}": 5.0 for number in range(9)}
    said = nearest_sentence({**many, "C": 30.0}, [("method 0", "C")])
    assert "of 9 rows of the table (5.0 points" in said and said.endswith("farther away: C.")
    assert "method 7" in nearest_sentence({name: 5.0 for name in [*many][:8]}, [])
