"""Data sets and models on a pretended hub, by the hub's own client: sent, fetched, and what it may answer instead."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from critic.files.hub import HubAddress, hub_address
from critic.run.folder.results import gather
from critic.run.pages.card import write_card
from service.exports.hub import push_model
from tests.factories import both_orders, judgement, provenance, row
from tests.pretended_hub import PretendedHub
from tests.service.formats.test_offers import dataset_folder

slow = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def run_folder(folder: Path) -> Path:
    """A finished run with its card."""
    folder.mkdir()
    rows = [row(i, [f"A river, {i}.", "No."], [judgement(both_orders("calm", 2.0, 1.0), 0.8)]) for i in range(3)]
    results = gather(lambda: iter(rows), lambda: iter(()), provenance(), folder, "jsonl", config={}, calls=0)
    write_card(results, folder)
    (folder / "manifest.json").write_text("{}")
    (folder / "run.db").write_text("answers")
    return folder


IMPATIENT = """
import base.hub_client as hub_client
hub_client.READING_SECONDS = hub_client.SENDING_SECONDS = 0.5
hub_client.PATIENCE, hub_client.SILENT_SECONDS, hub_client.LONGEST_WAIT = 1.0, 0.1, 2.0
"""


def client(hub: PretendedHub, folder: Path, *codes: str) -> list[Any]:
    """What a process prints for each of ``codes`` whose hub this is: the client reads its settings when it is imported.

    Each prints one line of JSON.
    """
    return told(hub, folder, *codes)[0]


def told(hub: PretendedHub, folder: Path, *codes: str) -> tuple[list[Any], str]:
    """Beside that, what it says on standard error."""
    environment = os.environ | {
        "HF_ENDPOINT": hub.address, "HF_HOME": str(folder / "hf"), "HF_TOKEN": "hf_pretended", "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "5",
    }  # fmt: skip
    command = [sys.executable, "-c", "\n".join(("import json", "from pathlib import Path", *codes))]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()[-len(codes) :]], done.stderr


PUSH = """
from base.errors import InputError
from service.exports.hub import push_dataset, push_model
try:
    print(json.dumps({push}(Path({folder!r}), {repo!r})))
except InputError as error:
    print(json.dumps(str(error)))
"""
READ = """
from base.errors import InputError
from critic.files.inputs import read_pairs
try:
    lines = read_pairs({source!r}, max_chars=1000, truncate=False)
    print(json.dumps([[answer.text for answer in line.item.responses] for line in lines]))
except InputError as error:
    print(json.dumps(str(error)))
"""


@slow
def test_a_run_goes_to_the_hub_with_its_card_and_its_pairs_come_back(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    with PretendedHub() as hub:
        push = PUSH.format(push="push_dataset", folder=str(folder), repo="me/rivers")
        read = READ.format(source="hf://me/rivers/pairs.jsonl")
        *pushed, rows = client(hub, tmp_path, push, push, read)  # a repository that is there is taken
        assert all("me/rivers" in said and "private" in said for said in pushed)
        sent = hub.files["datasets/me/rivers"]
        assert set(sent) == {"README.md", "pairs.jsonl", "sft.jsonl", "feedback.jsonl"}, "and no answers, no logs"
        assert sent["pairs.jsonl"] == (folder / "pairs.jsonl").read_bytes() and hub.private["datasets/me/rivers"]
        assert b"config_name: pairs" in sent["README.md"]
    assert rows == [[f"A river, {i}.", "No."] for i in range(3)]


@slow
def test_a_data_set_gets_a_card_and_a_model_goes_when_it_is_finished(tmp_path: Path) -> None:
    folder = dataset_folder(tmp_path / "rivers")
    model = tmp_path / "model"
    (model / "checkpoint-1").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "README.md", "refused.jsonl", "checkpoint-1/model.safetensors"):
        (model / name).write_text("{}")
    with pytest.raises(InputError, match="this training isn't finished"):
        push_model(model, "me/policy")
    (model / "lineage.json").write_text("{}")
    with PretendedHub() as hub:
        pushes = (("push_dataset", folder, "me/labels"), ("push_model", model, "me/policy"))
        client(hub, tmp_path, *(PUSH.format(push=push, folder=str(of), repo=repo) for push, of, repo in pushes))
        card = hub.files["datasets/me/labels"]["README.md"].decode()
        assert "rivers, version 1" in card and "data_files: pairs.jsonl" in card
        assert set(hub.files["models/me/policy"]) == {"config.json", "model.safetensors", "README.md", "lineage.json"}


@slow
@pytest.mark.parametrize(
    ("status", "words"), [(401, "the hub asks who you are (401)"), (403, "refuses it to you (403)"), (404, "(404)")]
)
def test_a_hub_that_refuses_is_quoted_and_nothing_is_lost(status: int, words: str, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with PretendedHub(refuse=status) as hub:
        push = PUSH.format(push="push_dataset", folder=str(folder), repo="me/rivers")
        said, read = client(hub, tmp_path, push, READ.format(source="hf://me/rivers/pairs.jsonl"))
    assert words in said and words in read
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@slow
def test_half_a_file_is_never_read(tmp_path: Path) -> None:
    with PretendedHub(half=True) as hub:
        line = b'{"prompt": "Name a river.", "responses": ["A", "B"]}\n'
        hub.files["datasets/me/rivers"] = {"pairs.jsonl": line * 50}
        whole, missing = (READ.format(source=f"hf://me/rivers/{name}.jsonl") for name in ("pairs", "prompts"))
        [said] = client(hub, tmp_path, whole)
        assert isinstance(said, str) and "the hub can't be used" in said and "the same command tries again" in said
        hub.half = False
        rows, absent = client(hub, tmp_path, whole, missing)
        assert len(rows) == 50 and "(404)" in absent and "prompts.jsonl" in absent


@slow
def test_a_hub_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    source = "hf://me/rivers/pairs.jsonl"
    with PretendedHub(busy=2) as hub:
        hub.files["datasets/me/rivers"] = {"pairs.jsonl": b'{"prompt": "Name a river.", "responses": ["A", "B"]}\n'}
        [read] = client(hub, tmp_path, READ.format(source=source))
        assert read == [["A", "B"]], read
        assert hub.busy == 0


@slow
def test_a_data_set_is_read_by_its_card_and_refusals_say_what_to_do(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    with PretendedHub(large=True) as hub:
        push = PUSH.format(push="push_dataset", folder=str(folder), repo="me/rivers")
        there, elsewhere = (READ.format(source=f"hf://me/{name}") for name in ("rivers", "lakes"))
        _, rows, missing = client(hub, tmp_path, push, there, elsewhere)
        assert hub.files["datasets/me/rivers"]["pairs.jsonl"] == (folder / "pairs.jsonl").read_bytes()
        assert len(hub.objects) >= 3, "the tables went by LFS"
        assert rows == [[f"A river, {i}.", "No."] for i in range(3)]
        hub.refuse = 401
        [private] = client(hub, tmp_path, there)
        assert "hf://me/lakes" in missing and "no such data set" in missing and "404" in missing
        assert "hf://me/rivers" in private and "401" in private and "HF_TOKEN" in private


@slow
@pytest.mark.parametrize("source", ["hf://me/rivers/pairs.jsonl", "hf://me/rivers", "hf://datasets/me/rivers/a.jsonl"])
def test_a_hub_that_keeps_silent_is_named_while_it_is_waited_for_and_given_up(source: str, tmp_path: Path) -> None:
    with PretendedHub(silent=True) as hub:
        [read], said = told(hub, tmp_path, IMPATIENT + READ.format(source=source))
    assert "waiting for the hub: " in said and hub.address in said
    assert isinstance(read, str) and source in read and ("no answer" in read or "can't be read" in read), read


@slow
def test_what_is_sent_to_a_silent_hub_is_given_up_and_stays(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    with PretendedHub(silent=True) as hub:
        push = PUSH.format(push="push_dataset", folder=str(folder), repo="me/rivers")
        [answer], said = told(hub, tmp_path, IMPATIENT + push)
    assert "waiting for the hub: POST" in said
    assert "no answer in time" in answer and "the same command tries again" in answer


@slow
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"refuse": 429, "later": 3600}, "asks to come back in 3600 s"),
        ({"refuse": 503, "later": 0}, "the hub fails (503)"),
        ({"round": True}, "redirects"),
    ],
)
def test_a_hub_that_is_at_fault_is_given_up(how: dict[str, Any], words: str, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    with PretendedHub(**how) as hub:
        reading = READ.format(source="hf://me/rivers/pairs.jsonl")
        push = PUSH.format(push="push_dataset", folder=str(folder), repo="me/rivers")
        read, sent = client(hub, tmp_path, IMPATIENT + reading, push)
    assert all("the hub" in answer and "the same command tries again" in answer for answer in (read, sent))
    assert words in sent or words in read, (read, sent)


def test_addresses_of_the_hub() -> None:
    assert hub_address("hf://me/rivers") == HubAddress("me/rivers", None, "", None)
    assert hub_address("hf://me/rivers:test") == HubAddress("me/rivers", None, ":test", None)
    assert hub_address("hf://me/rivers@v1/data/a.jsonl") == HubAddress("me/rivers", "v1", "", "data/a.jsonl")
    assert hub_address("hf://datasets/me/rivers/a.jsonl") is None and hub_address("s3://me/rivers") is None
    with pytest.raises(InputError, match="no data set of the hub"):
        hub_address("hf://rivers")
