from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.dictionary.formats import MAX_TEXTS, changed, lines, telling_texts, words
from searchops.core.dictionary.model import Kind
from searchops.core.errors import DataError

# What surrounds an entry or ends its line is not part of it; a comment is none.
entry_texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    lambda text: text == text.strip("".join(map(chr, range(33)))) and not text.startswith(("#", "\ufeff"))
)
terms = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=12)


@given(st.lists(entry_texts), st.sampled_from(["\n", "\r\n", "\r"]), st.data())
def test_the_entries_of_a_file_come_back_whatever_stands_between_them(entries, line_end, data):
    noise = st.sampled_from(["", "  ", "\t", "# a comment", "  # another", "#"])
    written = []
    for entry in entries:
        written += data.draw(st.lists(noise, max_size=2))
        written.append(data.draw(st.sampled_from(["", " ", "\t"])) + entry + data.draw(st.sampled_from(["", " ", "\t "])))
    file = line_end.join(written) + data.draw(st.sampled_from(["", line_end]))

    assert lines(file.encode(), "synonyms.txt") == entries


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029", "\u3000", "!"])
def test_only_what_ends_a_line_for_the_engine_ends_it_here(character):
    assert lines(f"a{character}b{character}\n".encode(), "synonyms.txt") == [f"a{character}b{character}"]


def test_a_byte_order_mark_is_refused_because_it_would_belong_to_the_first_word():
    with pytest.raises(DataError, match=r"synonyms\.txt: line 1: begins with a byte order mark"):
        lines("\ufeffa, b\n".encode(), "synonyms.txt")


@given(st.integers(0, 50), st.sampled_from(["shift_jis", "euc_jp", "utf-16-le"]))
def test_a_file_that_is_not_utf_8_is_refused_with_the_number_of_its_line(before, encoding):
    content = b"a, b\n" * before + "東京\n".encode(encoding)

    with pytest.raises(DataError, match=rf"^words\.txt: line {before + 1}: expected UTF-8, found byte 0x[0-9a-f]{{2}}; save"):
        lines(content, "words.txt")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("東京, とうきょう", ["東京", "とうきょう"]),
        ("tokyo => 東京, トーキョー", ["tokyo", "東京", "トーキョー"]),
        (r"a\,b, c", ["a,b", "c"]),
        (r"a\=>b => c", ["a=>b", "c"]),
        (r"ends in a backslash\\, c", ["ends in a backslash\\", "c"]),
        (r"a\ b", ["a b"]),
        ("a,,b,", ["a", "b"]),
        ("=> b", ["b"]),
        ("a =>", ["a"]),
        ("a = > b >= c", ["a = > b >= c"]),
        ("new york, big apple", ["new york", "big apple"]),
        (",", []),
    ],
)
def test_the_words_of_a_synonym_line_are_those_that_the_engine_reads(line, expected):
    assert words(Kind.SYNONYMS, line) == expected


@given(st.lists(terms, min_size=1), st.booleans())
def test_escaped_words_come_out_of_a_synonym_line_as_they_went_in(given_words, arrow):
    escaped = [word.replace("\\", "\\\\").replace(",", "\\,").replace("=>", "\\=>") for word in given_words]
    line = " => ".join([escaped[0], ", ".join(escaped[1:])]) if arrow else ", ".join(escaped)

    assert words(Kind.SYNONYMS, line) == given_words


@given(st.lists(terms, min_size=4, max_size=4))
def test_the_word_of_a_user_dictionary_line_is_its_first_field_quoted_or_not(fields):
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(fields)

    assert words(Kind.KUROMOJI_USER_DICTIONARY, row.getvalue()) == fields[:1]


def test_a_stopword_line_is_one_word():
    assert words(Kind.STOPWORDS, "a, b => c") == ["a, b => c"]


@given(st.lists(terms), st.lists(terms))
def test_what_changed_is_what_one_file_has_and_the_other_has_not(old, new):
    found = changed(old, new)

    assert set(found) == set(old) ^ set(new)
    assert len(found) == len(set(found))
    assert sorted(changed(new, old)) == sorted(found)


@given(st.lists(terms, unique=True), st.randoms())
def test_an_order_that_changed_changes_nothing(entries, random):
    shuffled = random.sample(entries, len(entries))

    assert changed(entries, shuffled) == []


@given(st.lists(terms))
def test_against_content_that_nobody_knows_every_entry_is_new(new):
    assert changed(None, new) == list(dict.fromkeys(new))


@given(st.lists(st.lists(terms, min_size=1, max_size=4), max_size=60), st.integers(0, 40))
def test_texts_are_as_many_as_fit_without_doubles_and_all_from_the_entries(rows, limit):
    entries = [", ".join(word.replace("\\", "\\\\").replace(",", "\\,").replace("=>", "\\=>") for word in row) for row in rows]

    texts = telling_texts(Kind.SYNONYMS, entries, limit)

    available = {word for row in rows for word in row}
    assert set(texts) <= available
    assert len(texts) == len(set(texts)) <= limit
    if len(available) <= limit:
        assert set(texts) == available


@given(st.integers(1, 5000), st.integers(1, MAX_TEXTS))
def test_texts_come_from_the_whole_file(count, limit):
    texts = telling_texts(Kind.STOPWORDS, [str(number) for number in range(count)], limit)

    places = [int(text) for text in texts]
    gaps = [later - earlier for earlier, later in zip([-1, *places], [*places, count], strict=True)]
    assert len(texts) == min(count, limit)
    assert max(gaps) <= count // len(texts) + 2


def test_each_entry_shows_before_any_shows_twice():
    assert telling_texts(Kind.SYNONYMS, ["a, b", "c, d", "e, f"], 4) == ["a", "c", "e", "b"]


def test_at_most_two_hundred_texts_are_asked_for():
    assert len(telling_texts(Kind.SYNONYMS, [f"a{n}, b{n}" for n in range(1000)])) == 200
