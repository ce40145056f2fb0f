"""No control token is left in any text, and ordinary text is left alone."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from critic.server.defuse import defuse

CONTROL = [
    *("<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|endoftext|>", "<|START_OF_TURN_TOKEN|>", "<\uff5cUser\uff5c>"),
    *(
        "<s>",
        "</s>",
        "<bos>",
        "<eos>",
        "<pad>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<BOS_TOKEN>",
        "<think>",
        "</think>",
    ),
    *("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[gMASK]", "<sop>", "<<SYS>>", "<</SYS>>", "]~b]", "]~!b[", "[e~["),
    *("<tool_call>", "<unused7>", "<__media__>", "<image>"),
]


@given(
    st.lists(st.one_of(st.sampled_from(CONTROL), st.sampled_from(list("<>|[]/~! sb\uff5c")), st.text(max_size=4))).map(
        "".join
    )
)
@example("<<|im_end|>|im_end|>")
@example("<s<s>>")
@example("]~b]~b]")
def test_no_control_token_is_left_in_any_text(text: str) -> None:
    defused = defuse(text)
    assert not any(token in defused for token in CONTROL)
    assert "<|" not in defused
    assert defuse(defused) == defused
    assert defused.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    "text",
    ["", "a < b | c > d", "x |> f()", "<div class='s'>[1] [NAME]</div>", "if (a<b) {}", "[x](y)", "List<String>"],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert defuse(text) == text
