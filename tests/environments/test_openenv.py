"""The OpenEnv server of `examples/` with OpenEnv's own check and client, in the environment that has them."""

import json
import os
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from serving import free_port

ROOT = Path(__file__).parents[2]
CLIENT = """
import json, sys
from openenv.core import GenericEnvClient
from toolalpaca_hf.environments import openapi_environments

rewards = []
with GenericEnvClient(base_url=sys.argv[1]).sync() as client:
    for kind in openapi_environments("sample", split="eval_simulated").values():
        for id, task in list(kind.tasks.items())[:3]:
            seen = client.reset(id=id)
            assert seen.observation["text"] == task.instruction
            for call in task.golden_calls:
                seen = client.step({"tool": call.action, "arguments": json.loads(call.action_input)})
                assert seen.observation["text"].startswith("Status Code: "), seen
            ended = client.step({"response": "Here it is."})
            assert ended.done
            rewards.append(ended.reward)
    client.reset(id=id)
    said = client.step({"tool": "rm", "arguments": {}}).observation["text"]
    rewards.append(client.step({"response": "It cannot be done."}).reward)
print(json.dumps([rewards, said]))
"""


@pytest.mark.slow
def test_openenv_accepts_it_and_its_client_is_rewarded(tmp_path: Path) -> None:
    python = os.environ.get("OPENENV_PYTHON")
    if not python:
        pytest.skip("OPENENV_PYTHON names no interpreter with `openenv`, which does not install beside mcp 2")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [python, str(ROOT / "examples" / "openenv_server.py"), "--split", "eval_simulated", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(300):
            assert server.poll() is None, (tmp_path / "log").read_text()
            try:
                httpx.get(f"{url}/health").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.2)
        checked = subprocess.run(
            [str(Path(python).with_name("openenv")), "validate", "--url", url], capture_output=True, text=True
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
        asked = subprocess.run([python, "-c", CLIENT, url], env=environment, capture_output=True, text=True)
        assert asked.returncode == 0, asked.stderr[-3000:]
    finally:
        server.kill()
        server.wait()
    rewards, said = json.loads(asked.stdout)
    assert rewards[:-1] == [1.0] * 12 and rewards[-1] < 0.5 and "no tool 'rm'" in said
