"""Fixtures that several kinds of test share: small encoder checkpoints, created at run time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lsr.settings

# On models this small, threads mostly wait for each other, on a busy machine far longer than they work.
# Set before torch is imported; the processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Triton reads it when it is imported: the GPU kernel runs in its interpreter, on CPU tensors.
os.environ.setdefault("TRITON_INTERPRET", "1")

# The default encoder in tests is BM25, which needs no transformer (except in tests/service/test_default_encoder.py).
os.environ["LSR_ENCODER"] = "bm25"
lsr.settings.DEFAULT_ENCODER = "bm25"  # type: ignore[misc] # Final, except in tests

# Enough word pieces to spell any ASCII text, and a few words.
PIECES = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz0123456789.,!?-'",
    *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"),
    "the", "of", "search", "sparse", "retriev", "##al", "##er", "learn", "##ed", "heart", "attack", "vitamin",
    "日", "本", "語", "é", "😀",
]  # fmt: skip

SIZES: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
             "max_position_embeddings": 64},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 64},
    "roberta": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
                "max_position_embeddings": 66, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3},
    "modernbert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
                   "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
                   "cls_token_id": 2, "sep_token_id": 3},
    "mistral": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
                "intermediate_size": 48, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 2,
                "eos_token_id": 3},
    "llama": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
              "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3},
}  # fmt: skip

CLASSES = {
    "bert": ("BertConfig", "BertForMaskedLM"),
    "distilbert": ("DistilBertConfig", "DistilBertForMaskedLM"),
    "roberta": ("RobertaConfig", "RobertaForMaskedLM"),
    "modernbert": ("ModernBertConfig", "ModernBertForMaskedLM"),
    "mistral": ("MistralConfig", "MistralForCausalLM"),
    "llama": ("LlamaConfig", "LlamaForCausalLM"),
}


def interruptible() -> None:
    """Let SIGINT reach a child, as its `preexec_fn`: a shell that starts tests in the background has it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def save_tokenizer(folder: Path, pieces: list[str] = PIECES, max_length: int = 32) -> None:
    """Write an uncased WordPiece tokenizer with CLS and SEP around the text."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    numbers = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length, unk_token="[UNK]", sep_token="[SEP]",
        pad_token="[PAD]", cls_token="[CLS]", mask_token="[MASK]",
    ).save_pretrained(folder)  # fmt: skip


def save_language_model(folder: Path, architecture: str = "bert", seed: int = 0, **config: Any) -> None:
    """Write a tiny language model with weights large enough for logits that matter."""
    import torch
    import transformers

    config_class, model_class = CLASSES[architecture]
    torch.manual_seed(seed)
    made = getattr(transformers, config_class)(**{"vocab_size": len(PIECES), **SIZES[architecture], **config})
    model = getattr(transformers, model_class)(made)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a tiny checkpoint with its tokenizer and returns its folder."""

    def make(architecture: str = "bert", *, max_length: int = 32, seed: int = 0, **config: Any) -> Path:
        folder = tmp_path_factory.mktemp(architecture)
        save_language_model(folder, architecture, seed, **config)
        save_tokenizer(folder, max_length=max_length)
        return folder

    return make
