"""What tokenizer and model must agree on before anything is trained: rows for all ids, and an end that is learnt."""

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from base.errors import InputError
from critic.chats.chat import Chat
from critic.chats.stops import end_ids, template_end


def check_rows(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, highest: int, where: str) -> None:
    """Raise `InputError` for ids past the embedding: a model trained with such a padding id can't be loaded again.

    ``highest`` is the highest id in the data.
    """
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Module)
    rows = int(getattr(table, "num_embeddings", 0) or table.weight.shape[0])  # type: ignore[index]  # torch types it as a module, too
    padding = tokenizer.pad_token_id
    for what, number in (("a token of the data", highest), ("the padding token", padding)):
        if number is not None and number >= rows:
            token = tokenizer.convert_ids_to_tokens(number)
            raise InputError(
                f"{what}, {token!r}, has the id {number}, and the model's embedding has {rows} rows",
                where=where,
                fix="take the tokenizer that belongs to the model; set pad_token to one of its other tokens, or add "
                "rows with model.resize_token_embeddings and save it",
            )


def learn_end(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, where: str) -> None:
    """Have the model's generation settings name what is trained as the end of an answer, beside what they name.

    Raises `InputError` for a template that writes no end: a policy would never learn to stop.
    """
    chat = Chat(tokenizer, where)
    if template_end(chat) is None:
        raise InputError(
            "its chat template writes no control token after an answer, so that no end of an answer can be learnt",
            where=where,
            fix="give the tokenizer a chat template that ends the assistant's turn, for example with its eos_token",
        )
    settings = model.generation_config
    if settings is None:
        return
    settings.eos_token_id = sorted(end_ids(chat, tokenizer, model))
    try:
        settings.validate(strict=True)
    except ValueError as error:  # transformers would refuse to save it, after all that was trained
        raise InputError(
            f"its generation_config.json could not be saved again: {str(error).splitlines()[0]}",
            where=where,
            fix="mend or remove that file",
        ) from error
