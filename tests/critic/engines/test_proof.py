"""The proof at opening: what it finds on models that differ from what is packed, and what an engine says of it."""

import string
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from base.errors import InputError
from critic.chats.chat import Chat
from critic.engine import EngineError, Node, Reward
from critic.local import language_model as hf
from critic.local import reward_model as rm
from critic.local.proving.proof import prove
from critic.local.trees import attention, prefix_tree
from critic.local.trees.attention import DecodePlan
from critic.local.trees.decoding import Decoder
from critic.local.trees.kv_cache import KeyValueCache
from critic.records import Message
from tests import zoo


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


@pytest.fixture
def chat() -> Chat:
    return Chat(zoo.tokenizer(), "tiny")


async def test_a_packed_model_has_the_identity_that_it_always_had(tiny_model: Path) -> None:
    engine = hf.open_engine(str(tiny_model), {"dtype": "float32"})
    await engine.close()
    assert engine.identity.settings == (("deterministic", "false"), ("dtype", "float32"))
    assert engine.capabilities["scoring"].startswith("packed (differs by ")
    assert engine.capabilities["writing"].startswith("packed (differs by ")


async def test_a_plain_path_is_told_and_part_of_the_identity(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = hf.open_engine(str(zoo.tiny("mamba", tmp_path)), {"dtype": "float32"})
    await engine.close()
    assert dict(engine.identity.settings) | {"scoring": "plain", "writing": "plain"} == dict(engine.identity.settings)
    assert "a packed row differs by" in engine.capabilities["scoring"]
    assert f"{tmp_path} is not computed packed, but slower. scoring: plain, for a packed row" in caplog.text


def test_an_attention_that_is_wrong_is_found(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sinks that are left out, as they were once, are a difference and not rounding."""
    model = zoo.build("gpt_oss")
    genuine = attention.mixed

    def without_sinks(*given: Any) -> torch.Tensor:
        query, key, value, mask, causal, rule, _ = given
        return genuine(query, key, value, mask, causal, rule, None)

    monkeypatch.setattr(attention, "mixed", without_sinks)
    proof = prove(model, chat, zoo.CONTEXT, "tiny")
    assert (proof.scoring.name, proof.writing and proof.writing.name) == ("plain", "plain")


def test_writing_is_proven_apart_from_scoring(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that loses its place when an answer moves is wrong in writing alone."""
    model = zoo.build("llama")
    monkeypatch.setattr(Decoder, "_move", lambda *_: None)
    proof = prove(model, chat, zoo.CONTEXT, "tiny")
    assert (proof.scoring.name, proof.writing and proof.writing.name) == ("packed", "plain")


@pytest.mark.parametrize("name", ["falcon_h1", "lfm2_moe", "minimax"])
def test_what_runs_along_the_row_is_found_in_bfloat16(name: str, chat: Chat) -> None:
    """A state reaches few tokens of the next branch: rounding and the choice of experts must not hide them."""
    proof = prove(zoo.build(name).bfloat16(), chat, zoo.CONTEXT, "tiny")
    assert proof.scoring.name == "plain"


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_oss", "granitemoe_swa"])
def test_rounding_alone_is_no_difference_in_bfloat16(name: str, chat: Chat) -> None:
    """The last three have one kind of attention of their own, so that their rounding can't be measured."""
    assert prove(zoo.build(name).bfloat16(), chat, zoo.CONTEXT, "tiny").is_packed


def test_arithmetic_that_is_wrong_in_bfloat16_alone_is_found(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = attention.mixed

    def blurred(query: torch.Tensor, *given: Any) -> torch.Tensor:
        own = genuine(query, *given)
        return own.flip(-1) if query.dtype == torch.bfloat16 else own

    monkeypatch.setattr(attention, "mixed", blurred)
    assert prove(zoo.build("llama").bfloat16(), chat, zoo.CONTEXT, "tiny").scoring.name == "plain"
    assert prove(zoo.build("llama"), chat, zoo.CONTEXT, "tiny").scoring.name == "packed"


def test_positions_that_are_the_rows_are_found(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = prefix_tree.run

    def by_row(model: PreTrainedModel, ids: Any, positions: Any, plan: Any) -> torch.Tensor:
        return genuine(model, ids, range(len(ids)) if isinstance(plan, attention.TreePlan) else positions, plan)

    monkeypatch.setattr(prefix_tree, "run", by_row)
    assert prove(zoo.build("llama"), chat, zoo.CONTEXT, "tiny").scoring.name == "plain"


def test_a_window_that_is_left_out_is_found(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention.Mask, "limits", lambda *_: False)
    proof = prove(zoo.build("mistral"), chat, zoo.CONTEXT, "tiny")
    assert (proof.scoring.name, proof.writing and proof.writing.name) == ("plain", "plain")


def test_a_window_of_128_that_is_left_out_of_writing_is_found(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """gpt-oss's is as long; the chats must be longer where they are written, not only where they are read."""
    genuine = DecodePlan._mask
    monkeypatch.setattr(DecodePlan, "_mask", lambda plan, _: genuine(plan, attention.CAUSAL))
    proof = prove(zoo.build("mistral", sliding_window=128), chat, zoo.CONTEXT, "tiny")
    assert (proof.scoring.name, proof.writing and proof.writing.name) == ("packed", "plain")


def test_a_cache_that_is_off_by_one_is_found(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = KeyValueCache.store
    monkeypatch.setattr(KeyValueCache, "store", lambda self, i, slot, k, v: genuine(self, i, slot, k.roll(1, 1), v))
    proof = prove(zoo.build("llama"), chat, zoo.CONTEXT, "tiny")
    assert (proof.scoring.name, proof.writing and proof.writing.name) == ("packed", "plain")


@pytest.mark.parametrize(("dtype", "tokens"), [(torch.float32, 720), (torch.bfloat16, 800)])
def test_opening_computes_few_tokens(dtype: torch.dtype, tokens: int, chat: Chat) -> None:
    """Each chat alone, their tree, their prompts, and what is written; in bfloat16 the brief one once more."""
    model = zoo.build("llama")
    torch.nn.Module.to(model, dtype)
    computed: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda _, given, out: computed.append(given[0].numel()))
    assert prove(model, chat, zoo.CONTEXT, "tiny").is_packed
    assert sum(computed) <= tokens


def test_a_keyword_that_is_not_known_is_never_left_out(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    model = zoo.build("llama")
    layer = type(model.model.layers[0].self_attn)
    genuine = layer.forward
    monkeypatch.setattr(layer, "forward", lambda self, *a, **k: genuine(self, *a, **k, head_mask=torch.ones(4)))
    proof = prove(model, chat, zoo.CONTEXT, "tiny")
    assert proof.scoring.name == "plain" and "its attention takes head_mask" in proof.scoring.why


def test_a_model_that_looks_ahead_is_refused(chat: Chat) -> None:
    with pytest.raises(InputError, match=r"otherwise when other tokens follow.*\n?.*is_decoder"):
        prove(zoo.build("bert", is_decoder=False), chat, zoo.CONTEXT, "tiny")


def test_the_models_attention_is_as_it_was_after_the_proof(chat: Chat) -> None:
    model = zoo.build("llama")
    before = model.config._attn_implementation
    prove(model, chat, zoo.CONTEXT, "tiny")
    assert model.config._attn_implementation == before


def test_what_is_kept_of_a_token_is_measured(chat: Chat) -> None:
    """Two layers, two heads, keys and values of 8 numbers in float32."""
    assert prove(zoo.build("llama"), chat, zoo.CONTEXT, "tiny").bytes_per_token == 2 * 2 * 2 * 8 * 4


def test_a_tokenizer_past_the_embedding_is_refused_at_opening(tmp_path: Path) -> None:
    zoo.tiny("llama", tmp_path, vocab_size=200)
    with pytest.raises(InputError, match="261 tokens and its embedding 200 rows"):
        hf.open_engine(str(tmp_path), {"dtype": "float32"})


def test_padding_past_the_embedding_is_refused_at_opening(tmp_path: Path) -> None:
    zoo.tiny("llama", tmp_path)
    config = (tmp_path / "config.json").read_text().replace('"pad_token_id": 0', '"pad_token_id": 261')
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match="can't be loaded"):
        hf.open_engine(str(tmp_path), {"dtype": "float32"})


def pair_tokenizer() -> PreTrainedTokenizerFast:
    """Words of a few letters' alphabet, and BERT's rule for pairs."""
    words = {word: i for i, word in enumerate(("[PAD]", "[CLS]", "[SEP]", "[UNK]", *string.printable[:94]))}
    backend = Tokenizer(
        models.WordPiece(words | {f"##{letter}": 98 + i for i, letter in enumerate(string.printable[:94])})
    )
    backend.model.unk_token = "[UNK]"
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A folder with a random BERT of one score, which reads pairs."""
    config = BertConfig(
        vocab_size=192,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=0.0,
    )
    config.num_labels = 1
    torch.manual_seed(5)
    model = BertForSequenceClassification(config)
    zoo.randomise(model, 0.3)
    model.save_pretrained(tmp_path)
    pair_tokenizer().save_pretrained(tmp_path)
    return tmp_path


async def test_an_encoder_scores_question_and_answer_as_its_tokenizer_pairs_them(encoder: Path) -> None:
    alone: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(encoder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    engine = rm.open_engine(str(encoder), {"dtype": "float32"})
    tree = Node((user("a b c"),), None, (Node((assistant("d e"),), Reward()), Node((assistant("f"),), Reward())))
    scores = await engine.score(tree)
    await engine.close()
    for score, answer in zip(scores, ("d e", "f"), strict=True):
        with torch.inference_mode():
            pair = tokenizer("a b c", answer, return_tensors="pt", return_token_type_ids=True)
            expected = alone(**pair).logits[0].tolist()
        assert score.values == pytest.approx(expected, abs=1e-5)
    assert [score.tokens for score in scores] == [2, 1]
    assert ("chat", "pair of texts") in engine.identity.settings


async def test_no_text_brings_an_encoder_control_tokens(encoder: Path) -> None:
    engine = rm.open_engine(str(encoder), {"dtype": "float32"})
    tree = engine._ways.tree(Node((user("a [SEP] b"), assistant("[CLS] c")), Reward()))
    await engine.close()
    ids = [i for segment in tree.segments for i in segment.ids]
    assert [i for i in ids if i in (1, 2)] == [1, 2, 2]


async def test_an_encoder_needs_an_answer_at_the_end(encoder: Path) -> None:
    engine = rm.open_engine(str(encoder), {"dtype": "float32"})
    with pytest.raises(EngineError, match="ends with the assistant's turn"):
        await engine.score(Node((user("a"),), Reward()))
    await engine.close()


@pytest.mark.parametrize("name", ["gpt2", "opt", "gemma", "phi", "qwen2"])
async def test_classifiers_of_decoders_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    zoo.tiny(name, tmp_path, auto=AutoModelForSequenceClassification, num_labels=1)
    alone = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float32).eval()
    engine = rm.open_engine(str(tmp_path), {"dtype": "float32"})
    tree = Node((user("Is it?"),), None, tuple(Node((assistant(a),), Reward()) for a in ("Yes.", "No, never.")))
    scores = await engine.score(tree)
    await engine.close()
    for score, answer in zip(scores, ("Yes.", "No, never."), strict=True):
        turns = [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": answer}]
        text = str(zoo.tokenizer().apply_chat_template(turns, tokenize=False))
        with torch.inference_mode():
            ids = torch.tensor([zoo.tokenizer().encode(text, add_special_tokens=False)])
            assert score.values == pytest.approx(alone(ids).logits[0].tolist(), abs=1e-4)
