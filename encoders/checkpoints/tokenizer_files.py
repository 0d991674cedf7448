"""A tokenizer read from its folder: with the `tokenizers` package alone where that is exact, else with transformers.

transformers uses tokenizer.json as it is for some tokenizers, and builds others (BERT's) from the vocabulary and from
the options in tokenizer_config.json. The files show which of the two applies, and whether both give the same tokens:
`_from_files` reads them where the tokens are certainly the same, and returns None otherwise. Then transformers reads
them, which needs the `models` extra. tests/golden/test_encoders_tokenizers.py compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from encoders.checkpoints.files import read_object, tokenizer_limit
from encoders.errors import CheckpointError
from encoders.models_extra import require_models
from encoders.text.tokenizer import LoadedTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOKENIZER, _CONFIG, _SPECIAL = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
# The classes for which transformers uses tokenizer.json as it is, and those that it builds.
_AS_STORED = ("TokenizersBackend", "PreTrainedTokenizerFast")
_BERT = ("BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast")
_MODEL_TYPES = (None, "", "bert", "distilbert")  # for others transformers may choose another class
_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_BERT_TOKENS = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
                "mask_token": "[MASK]"}  # fmt: skip
# Options that change tokens, or that add some.
_CHANGING = ("add_bos_token", "add_eos_token", "additional_special_tokens", "auto_map", "extra_special_tokens",
             "fix_mistral_regex", "max_len", "split_special_tokens", "tokenizer_file")  # fmt: skip
_OTHER_FILES = ("added_tokens.json", "tekken.json")
_MOST_TOKENS = 100_000  # transformers may change a tokenizer with a larger vocabulary


def read_tokenizer(folder: Path) -> LoadedTokenizer:
    """Return the folder's tokenizer; raise CheckpointError naming the folder, ModelsMissing where transformers is
    needed and not installed."""
    return _from_files(folder) or of_transformers(read_with_transformers(folder))


def read_with_transformers(folder: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer that transformers reads; raise CheckpointError naming the folder, ModelsMissing."""
    require_models()
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        reason = str(error).strip().split("\n", 1)[0][:300]
        raise CheckpointError(f"{folder}: the tokenizer cannot be read: {reason}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise CheckpointError(f"{folder}: {type(tokenizer).__name__} is not a tokenizer")
    return tokenizer


def of_transformers(tokenizer: PreTrainedTokenizerBase) -> LoadedTokenizer:
    """Return a fast tokenizer of transformers; raise CheckpointError for a slow one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise CheckpointError(f"{type(tokenizer).__name__} is not a fast tokenizer: tokenizer.json is missing")

    def save(folder: Path) -> None:
        tokenizer.save_pretrained(folder)

    return LoadedTokenizer(
        tokenizer.name_or_path or type(tokenizer).__name__,
        backend.to_str(),
        special_ids=frozenset(int(i) for i in tokenizer.all_special_ids),
        pad_id=_number(tokenizer.pad_token_id),
        unknown_id=_number(tokenizer.unk_token_id),
        mask_id=_number(tokenizer.mask_token_id),
        max_length=tokenizer_limit(tokenizer.model_max_length),
        truncation_side="left" if tokenizer.truncation_side == "left" else "right",
        save=save,
    )


def _from_files(folder: Path) -> LoadedTokenizer | None:
    """Return the tokenizer, or None if it is not certain what transformers would read."""
    files = {name: folder / name for name in (_TOKENIZER, _CONFIG, _SPECIAL) if (folder / name).is_file()}
    if not files.keys() >= {_TOKENIZER, _CONFIG} or any((folder / name).exists() for name in _OTHER_FILES):
        return None
    model_config = read_object(folder / "config.json") if (folder / "config.json").is_file() else {}
    if model_config.get("model_type") not in _MODEL_TYPES or model_config.get("tokenizer_class"):
        return None
    try:
        texts = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
        understood = _understand(texts[_TOKENIZER], texts[_CONFIG], texts.get(_SPECIAL, "{}"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder}: the tokenizer cannot be read: {error}") from None

    def save(target: Path) -> None:
        for name, text in texts.items():
            (target / name).write_text(text, encoding="utf-8")

    return understood and replace(understood, name=str(folder), save=save)


@lru_cache(maxsize=4)  # the two sides of an encoder often have the same files
def _understand(tokenizer_json: str, config_json: str, special_json: str) -> LoadedTokenizer | None:
    """Return the tokenizer, without name and files, or None if it is not certain what transformers would read.

    Raises ValueError for a text that is not JSON.
    """
    content, config, special_map = map(json.loads, (tokenizer_json, config_json, special_json))
    if not all(isinstance(one, dict) for one in (content, config, special_map, content.get("model"))):
        return None
    kind, side, limit = config.get("tokenizer_class"), config.get("truncation_side"), config.get("model_max_length")
    vocabulary = content["model"].get("vocab")
    named, added = _named_tokens(config, special_map), _added_tokens(content)
    if named is None or added is None or not isinstance(vocabulary, dict | list):
        return None
    if kind in _BERT:
        named = _BERT_TOKENS | named
        exact = len(added) == len(set(named.values())) and _is_plain_bert(content, config, named)
    else:
        exact = kind in _AS_STORED
    special = {token["content"]: number for number, token in added.items() if token.get("special") is True}
    if (
        not exact
        or not set(named.values()) <= special.keys()
        or not _agrees(config.get("added_tokens_decoder"), added)
        or any(config.get(name) for name in _CHANGING)
        or len(vocabulary) > _MOST_TOKENS
        or side not in (None, "left", "right")
        or isinstance(limit, bool | str | list | dict)
    ):
        return None
    numbers = {role: special[token] for role, token in named.items()}
    return LoadedTokenizer(
        name="",
        content=tokenizer_json,
        special_ids=frozenset(numbers.values()),
        pad_id=numbers.get("pad_token"),
        unknown_id=numbers.get("unk_token"),
        mask_id=numbers.get("mask_token"),
        max_length=None if limit is None else tokenizer_limit(limit),
        truncation_side="left" if side == "left" else "right",
        save=lambda _: None,
    )


def _named_tokens(config: Mapping[str, Any], special_map: Mapping[str, Any]) -> dict[str, str] | None:
    """Return each role's token, from tokenizer_config.json and the file that older versions wrote; None if they differ,
    or if an entry is not understood."""
    named: dict[str, str] = {}
    if any(role not in _ROLES for role in special_map):
        return None
    for role, value in [*config.items(), *special_map.items()]:
        if role not in _ROLES or value is None:
            continue
        token = value.get("content") if isinstance(value, dict) else value
        if not isinstance(token, str) or named.setdefault(role, token) != token:
            return None
    return named


def _added_tokens(content: Mapping[str, Any]) -> dict[int, dict[str, Any]] | None:
    """Return tokenizer.json's added tokens by id; None if one is not valid."""
    tokens = content.get("added_tokens") or []
    if not isinstance(tokens, list) or not all(isinstance(token, dict) for token in tokens):
        return None
    if not all(isinstance(token.get("id"), int) and isinstance(token.get("content"), str) for token in tokens):
        return None
    return {token["id"]: token for token in tokens}


def _agrees(decoder: Any, added: Mapping[int, Mapping[str, Any]]) -> bool:
    """Return whether the added tokens in tokenizer_config.json, if it lists them, are those of tokenizer.json."""
    if not decoder:
        return True
    if not isinstance(decoder, dict):
        return False
    listed = {
        str(number): {key: value for key, value in token.items() if key != "id"} for number, token in added.items()
    }
    return decoder == listed


def _is_plain_bert(content: Mapping[str, Any], config: Mapping[str, Any], named: Mapping[str, str]) -> bool:
    """Return whether tokenizer.json is what transformers builds from the vocabulary and tokenizer_config.json."""
    model = {key: value for key, value in (content.get("model") or {}).items() if key != "vocab"}
    pieces = {
        "type": "WordPiece",
        "unk_token": named["unk_token"],
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
    }
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
        "strip_accents": config.get("strip_accents"),
        "lowercase": config.get("do_lower_case", True),
    }
    return (
        model == pieces
        and content.get("normalizer") == normalizer
        and content.get("pre_tokenizer") == {"type": "BertPreTokenizer"}
        and _template(content) in _templates(content, named)
    )


def _template(content: Mapping[str, Any]) -> Any:
    processor = content.get("post_processor") or {}
    if processor.get("type") == "TemplateProcessing":
        return [*processor.get("single", []), processor.get("special_tokens")]
    return processor


def _templates(content: Mapping[str, Any], named: Mapping[str, str]) -> Iterator[Any]:
    """Yield the two ways to write "CLS, the text, SEP"."""
    vocabulary = content["model"]["vocab"]
    opening, closing = named["cls_token"], named["sep_token"]
    numbers = {token: vocabulary.get(token) for token in (opening, closing)}
    yield [
        {"SpecialToken": {"id": opening, "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": closing, "type_id": 0}},
        {token: {"id": token, "ids": [number], "tokens": [token]} for token, number in numbers.items()},
    ]
    yield {"type": "BertProcessing", "sep": [closing, numbers[closing]], "cls": [opening, numbers[opening]]}


def _number(value: Any) -> int | None:
    return None if value is None else int(value)
