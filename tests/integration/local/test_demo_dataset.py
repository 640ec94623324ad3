"""The demo's claims on a real node: every search misses before its dictionary is live and hits after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opensearchpy import OpenSearch, TransportError

from local.demo import dataset, jmdict
from local.demo.dataset import SYNONYMS, USER_DICTIONARY, Dataset, Document
from local.opensearch import OpenSearchNode

INCLUDE = Path(__file__).parents[3] / "include"
FILES = {USER_DICTIONARY: "F100000001", SYNONYMS: "F100000002"}


class Index:
    """An index of the node, and the dictionary files that it reads when it opens."""

    name = "products"

    def __init__(self, node: OpenSearchNode) -> None:
        self.client = OpenSearch(node.url, timeout=60)
        self.body = dataset.render_body((INCLUDE / "indexes" / "products.json").read_text(encoding="utf-8"), FILES)
        self._folder = node.analyzers_dir

    def put(self, **contents: bytes) -> None:
        for name, content in contents.items():
            (self._folder / FILES[name.replace("_", "-")]).write_bytes(content)

    def create(self, user_dictionary: bytes = b"", synonyms: bytes = b"") -> None:
        self.put(user_dictionary=user_dictionary, synonyms=synonyms)
        self.client.indices.delete(index=self.name, ignore_unavailable=True)
        self.client.indices.create(index=self.name, body=self.body)

    def reopen(self, **contents: bytes) -> None:
        self.put(**contents)
        self.client.indices.close(index=self.name)
        self.client.indices.open(index=self.name)
        self.client.cluster.health(index=self.name, params={"wait_for_status": "green"})

    def tokens(self, analyzer: str, text: str) -> list[str]:
        answer = self.client.indices.analyze(index=self.name, body={"analyzer": analyzer, "text": text})
        return [token["token"] for token in answer["tokens"]]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with OpenSearchNode(tmp_path_factory.mktemp("node")) as node:
        yield Index(node)


@pytest.fixture(scope="module")
def data(index: Index) -> Dataset:
    return dataset.build(dataset.engine_tokens(index.client, index.body))


@pytest.fixture
def loaded(index: Index, data: Dataset) -> Index:
    index.create()
    assert dataset.load(index.client, index.name, data.documents) == len(data.documents)
    return index


def test_there_are_enough_documents_and_none_of_them_is_what_the_dictionaries_are_made_from(data: Dataset) -> None:
    spellings = {spelling for document in data.documents for spelling in document["text"].split("、")}
    words = {line.split(",")[0] for line in data.user_dictionary[-1].content.decode().splitlines()}

    assert len(data.documents) >= 20_000
    assert len({document["pk"] for document in data.documents}) == len(data.documents)
    assert not words & spellings


def test_the_same_entries_give_the_same_data_set(index: Index, data: Dataset) -> None:
    assert dataset.build(dataset.engine_tokens(index.client, index.body), jmdict.entries()) == data


def test_every_search_misses_before_its_dictionary_is_live_and_hits_after(loaded: Index, data: Dataset) -> None:
    for words, lines in zip(data.user_dictionary, data.synonyms, strict=True):
        assert missed(loaded, words.searches) == len(words.searches)
        assert missed(loaded, lines.searches) == len(lines.searches)

        loaded.reopen(user_dictionary=words.content)
        assert missed(loaded, words.searches) == 0
        assert missed(loaded, lines.searches) == len(lines.searches)

        loaded.reopen(synonyms=lines.content)
        assert missed(loaded, lines.searches) == 0

    every = [search for generation in (*data.user_dictionary, *data.synonyms) for search in generation.searches]
    assert len(every) == dataset.USER_DICTIONARY_SIZES[-1] + dataset.SYNONYMS_SIZES[-1]
    assert missed(loaded, every) == 0


def missed(index: Index, searches: tuple[dataset.Search, ...] | list[dataset.Search]) -> int:
    return sum(not found.hit for found in dataset.measure(index.client, index.name, searches))


def test_a_word_of_the_user_dictionary_is_one_token_once_it_is_live_on_both_search_analyzers(
    loaded: Index, data: Dataset
) -> None:
    search = data.user_dictionary[0].searches[0]
    before = loaded.tokens("ja_search", search.text)

    loaded.reopen(user_dictionary=data.user_dictionary[0].content)

    assert len(before) > 1
    assert loaded.tokens("ja_search", search.text) == [search.text]
    assert loaded.tokens("ja_synonym_search", search.text) == [search.text]
    assert len(loaded.tokens("ja_index", search.text)) > 1


def test_measured_tokens_are_those_of_the_live_analyzer_text_by_text(loaded: Index, data: Dataset) -> None:
    searches = data.user_dictionary[0].searches[:5] + data.synonyms[0].searches[:5]

    for found in dataset.measure(loaded.client, loaded.name, searches):
        assert list(found.tokens) == loaded.tokens(dataset.SEARCH_ANALYZERS[found.search.dictionary], found.search.text)


def test_texts_with_characters_of_two_utf_16_units_keep_their_own_tokens(index: Index) -> None:
    tokens = dataset.engine_tokens(index.client, index.body)

    assert tokens(["𠮟る", "𠮷野家𠮷野家", "道路"]) == [*tokens(["𠮟る"]), *tokens(["𠮷野家𠮷野家"]), ["道路"]]


def test_the_engine_refuses_the_second_definition_of_a_word_and_names_its_line(index: Index, data: Dataset) -> None:
    refused = data.refused_user_dictionary

    with pytest.raises(TransportError, match=rf"Line \[{refused.line}\]: Found duplicate term"):
        index.create(user_dictionary=refused.content)


def test_the_engine_refuses_a_line_of_synonyms_with_two_arrows_and_takes_the_rest(index: Index, data: Dataset) -> None:
    lines = data.refused_synonyms.content.decode().splitlines(keepends=True)

    with pytest.raises(TransportError, match="Failed to build analyzers"):
        index.create(synonyms=data.refused_synonyms.content)
    del lines[data.refused_synonyms.line - 1]
    index.create(synonyms="".join(lines).encode())


def test_the_example_dictionaries_are_valid_with_each_other(index: Index) -> None:
    words, synonyms = (INCLUDE / "dictionaries" / name for name in ("user_dictionary.csv", "synonyms.txt"))

    index.create(words.read_bytes(), synonyms.read_bytes())

    assert index.tokens("ja_search", "東京スカイツリー") == ["東京スカイツリー"]
    assert index.tokens("ja_search", "骨伝導イヤホン") == ["骨伝導", "イヤホン"]
    assert set(index.tokens("ja_synonym_search", "関空")) == {"関空", "関西国際空港"}


def test_loading_into_an_index_that_holds_other_documents_is_an_error(index: Index) -> None:
    def documents(*keys: str) -> list[Document]:
        return [{"pk": key, "sk": "entry", "revision": 1} for key in keys]

    index.create()
    assert dataset.load(index.client, index.name, documents("1", "2")) == 2

    with pytest.raises(RuntimeError, match="expected the 1 documents that were written, found 3"):
        dataset.load(index.client, index.name, documents("3"))
