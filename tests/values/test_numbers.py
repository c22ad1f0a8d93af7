"""Numbers of modules in one word."""

from __future__ import annotations

import random

import pytest

from vitprof.values.numbers import in_a_word, listed, read_numbers


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ([3], "3"),
        ([0, 1], "0-1"),
        ([0, 2, 4], "0,2,4"),
        ([2, 5, 8, 11], "2,5,8,11"),
        ([0, 1, 3, 4, 6, 7], "0-1,3-4,6-7"),
        ([1, 3, 5, 7, 9], "1-9:2"),
        ([0, 5, 6, 7], "0,5-7"),
    ],
)
def test_numbers_in_a_word(numbers: list[int], word: str) -> None:
    assert in_a_word(numbers) == word
    assert listed(word) == numbers


def test_a_word_is_read_as_it_was_written() -> None:
    generator = random.Random(0)
    for _ in range(200):
        numbers = sorted(generator.sample(range(30), generator.randint(1, 30)))
        assert listed(in_a_word(numbers)) == numbers


@pytest.mark.parametrize("word", ["", "a", "1-a", "3-1", "1,,2", "1:2", "1-5:0", "²", "-3"])
def test_other_words_are_no_numbers(word: str) -> None:
    assert read_numbers(word) is None


def test_an_open_range_ends_where_the_list_does() -> None:
    (every,) = read_numbers("1-:3") or ()
    assert [*every.below(9)] == [1, 4, 7]
    assert every.needed == 1
    assert listed("1-:3") is None
