"""A tiny model and tokenizer, made here: random weights, a vocabulary of bytes, and a chat template of its own."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from critic.chats.chat import Chat
from critic.local.language_model import HfEngine, open_engine
from critic.local.loading import load
from critic.local.trees import attention

TEMPLATE = (
    "{% for m in messages %}"
    "{% if loop.first and m.role != 'system' %}<|open|>system\nBe good.<|shut|>\n{% endif %}"
    "<|open|>{{ m.role }}\n{{ m.content }}<|shut|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|open|>assistant\n{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, three control tokens, and ``<think>``, which is added but not special."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, special=True) for text in ("<|open|>", "<|shut|>", "<|end|>")])
    backend.add_tokens([AddedToken("<think>", special=False)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|shut|>", pad_token="<|end|>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@pytest.fixture(autouse=True)
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compute tiny models on one thread: on a busy machine, waiting for a second one takes most of the time."""
    threads = torch.get_num_threads()
    if not request.node.get_closest_marker("slow"):
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def chat(tokenizer: PreTrainedTokenizerFast) -> Chat:
    return Chat(tokenizer, "tiny")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A folder with a random Llama of two layers, four heads on two key-value heads, and 512 positions."""
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.4,
        bos_token_id=None,
        eos_token_id=[
            i for i, token in tokenizer.added_tokens_decoder.items() if str(token) in ("<|shut|>", "<|end|>")
        ],
        tie_word_embeddings=True,
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reference(tiny_model: Path) -> LlamaForCausalLM:
    """The same model as transformers runs it: plain attention, one sequence at a time."""
    model = LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.float32, attn_implementation="eager")
    assert isinstance(model, LlamaForCausalLM)
    model.eval()
    return model


@pytest.fixture(scope="session")
def packed_model(tiny_model: Path) -> PreTrainedModel:
    """The same model with this project's attention, without an engine around it."""
    return load(str(tiny_model), torch.float32, torch.device("cpu"), attention.NAME).model


@pytest_asyncio.fixture
async def engine(tiny_model: Path) -> AsyncIterator[HfEngine]:
    """The tiny model in an engine, float32."""
    opened = open_engine(str(tiny_model), {"dtype": "float32"})
    yield opened
    await opened.close()


@pytest.fixture
def changed_model(tiny_model: Path, tmp_path: Path) -> Callable[..., Path]:
    """Make copies of the tiny model with other entries in its configuration."""

    def change(**entries: object) -> Path:
        folder = tmp_path / "changed"
        folder.mkdir()
        for file in tiny_model.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        config = json.loads((folder / "config.json").read_text()) | entries
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return change
