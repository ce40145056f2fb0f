"""Store a person's label in a running service, and read labels back, with the asynchronous client.

CAI_KEY=... python examples/store_labels.py http://127.0.0.1:8300
"""

import asyncio
import os
import sys

from cai_feedback import AsyncClient


async def main(server: str) -> None:
    """Give a label, and print all of its kind."""
    async with AsyncClient(server, os.environ["CAI_KEY"]) as client:
        await client.give({"kind": "demonstration", "prompt": "Name a river.", "label": "The Po."})
        async for label in client.all_feedback(kind="demonstration"):
            print(label.prompt.messages[-1].content, "->", label.label)


asyncio.run(main(sys.argv[1]))
