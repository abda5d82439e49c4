"""Many clinics on slow lines, in a process of their own: each puts the chunks of its upload at a few KB a second."""

import asyncio
import base64
import hashlib
import json
import random
import sys
from contextlib import suppress
from typing import Any

API = "/api/v1"
STEPS = 4  # a second
Job = dict[str, Any]


class Slow:
    """One client. `served` until the gateway refuses it or hangs up."""

    def __init__(self, job: Job, upload: str) -> None:
        self.port, self.rate, self.chunk, self.upload = job["port"], job["rate"], job["chunk"], upload
        body = bytes(self.chunk)
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        fields = {"Host": f"127.0.0.1:{self.port}", "Content-Length": str(len(body)), **job["headers"]}
        fields["Content-Digest"] = f"sha-256=:{digest}:"
        self.head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.begun, self.served, self.trouble = asyncio.Event(), True, ""

    async def run(self) -> None:
        await asyncio.sleep(random.uniform(0, 1))
        try:
            await self._go_on()
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            self.served, self.trouble = False, repr(error)
        self.begun.set()

    async def _go_on(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        number = 0
        while True:
            status = await self._put(reader, writer, number)
            if status == 404:  # behind the last chunk
                return
            if status not in (204, 409):  # 409: the round before was cut off within this chunk
                raise ValueError(f"answered {status}")
            number += 1

    async def _put(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> int:
        writer.write(f"PUT {API}/uploads/{self.upload}/chunks/{number} HTTP/1.1\r\n{self.head}\r\n".encode())
        left, piece = self.chunk, bytes(self.rate // STEPS)
        while left:
            writer.write(piece[:left])
            left -= min(left, len(piece))
            await writer.drain()
            self.begun.set()
            await asyncio.sleep(1 / STEPS)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next((int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length:")), 0)
        await reader.readexactly(length)
        return int(head.split()[1])


async def main() -> None:
    """Begins with the first job; answers the second with how many are still served."""
    loop = asyncio.get_running_loop()
    clients: list[Slow] = []
    running: list[asyncio.Task[None]] = []
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        job = json.loads(line)
        if job["op"] == "start":
            clients = [Slow(job, upload) for upload in job["uploads"]]
            running = [asyncio.create_task(client.run()) for client in clients]
            await asyncio.gather(*(client.begun.wait() for client in clients))
        troubles = sorted({client.trouble for client in clients if client.trouble})
        answer: Job = {"served": sum(client.served for client in clients), "troubles": troubles[:3]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for task in running:
        task.cancel()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
