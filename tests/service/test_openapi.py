"""schemathesis over the whole OpenAPI of a real server: no 500, no undocumented status, no answer of another form."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.serving import KeptConnection, Served, serving
from tests import warm

HERE = Path(__file__).parent


@pytest.mark.slow
def test_schemathesis_finds_no_failure(tmp_path: Path) -> None:
    engine = {"spec": f"scripted:{HERE / 'openapi_engine.yaml'}", "mode": "logprob"}
    with serving(tmp_path / "server", begin=warm.forked, engines={"scripted": engine}) as served:
        command = [str(Path(sys.executable).parent / "schemathesis"), "--no-color"]
        command += ["--config-file", str(HERE / "schemathesis.toml"), "run"]
        key = asyncio.run(key_of_an_annotator(served))
        command += [f"http://127.0.0.1:{served.port}/openapi.json", "-H", f"Authorization: Bearer {key}"]
        command += ["--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", "4"]
        command += ["--seed", "7", "--continue-on-failure"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    summary = done.stdout[-6000:]
    assert done.returncode == 0, summary
    tested = re.search(r"Operations:\s+(\d+) selected / (\d+) total", done.stdout)
    assert tested is not None and tested[1] == tested[2], summary


async def key_of_an_annotator(served: Served) -> str:
    """A key that may do everything, and label."""
    async with KeptConnection(served) as connection:
        _, ada = await connection.send("POST", "/v1/annotators", b'{"name": "Ada"}')
        asked = {"name": "Ada", "scopes": ["admin", "label"], "annotator": json.loads(ada)["id"]}
        _, made = await connection.send("POST", "/v1/keys", json.dumps(asked).encode())
        return str(json.loads(made)["key"])
