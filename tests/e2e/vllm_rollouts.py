"""Run by the interpreter that has vLLM: writes greedily, changes the weights, and writes again, with both writers.

``python tests/e2e/vllm_rollouts.py MODEL`` prints one JSON object.
"""

import asyncio
import json
import sys

import torch

from critic.chats.chat import Chat
from critic.chats.stops import end_ids
from critic.local.loading import load
from critic.local.trees import attention
from critic.records import Message, Prompt
from trainers.online.prompts import Ask
from trainers.online.writing.rollout import HfWriter, RolloutTask, RolloutWriter, Sample
from trainers.online.writing.rollout_vllm import VllmWriter


def main(folder: str) -> None:
    loaded = load(folder, torch.float32, torch.device("cpu"), attention.NAME)
    chat = Chat(loaded.tokenizer, folder)
    prompts = [Prompt(messages=(Message(role="user", content=text),)) for text in ("Name a river.", "Say hello.")]
    asks = [Ask(prompt, "here:1", chat.encode(prompt.messages)) for prompt in prompts]

    tasks = [RolloutTask(ask, seed, 12, 0.0) for seed, ask in enumerate(asks)]
    model, samples = loaded.model, {}
    with asyncio.Runner() as runner:
        writers: dict[str, RolloutWriter] = {
            "vllm": VllmWriter(model, torch.float32, loaded.tokenizer, 256, runner),
            "hf": HfWriter(model, torch.float32, chat, end_ids(chat, loaded.tokenizer, model), 4),
        }
        for when in ("before", "after"):
            if when == "after":
                change(model)
            for name, writer in writers.items():
                writer.refresh(model.named_parameters())
                samples[f"{name} {when}"] = [shown(sample) for sample in writer.write(tasks)]
        writers["vllm"].close()
    print(json.dumps(samples))


@torch.no_grad()
def change(model: torch.nn.Module) -> None:
    """Turn the model's layers a little, so that it writes something else."""
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "layers." in name and weight.dim() == 2:
            weight.add_(0.3 * weight.std() * torch.randn_like(weight))


def shown(sample: Sample) -> dict[str, object]:
    return {"ids": sample.ids, "text": sample.text, "logprobs": sample.logprobs, "problem": sample.problem}


if __name__ == "__main__":
    main(sys.argv[1])
