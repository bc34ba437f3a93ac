"""An application that delivers its own messages: a worker starts with it, runs in its event loop and stops with it.

    RELAY_DATABASE_URL=... RELAY_TMC_APP_KEY=... python examples/worker_in_asyncio.py

Ctrl-C or SIGTERM ends the application; calls in flight land first. docs/embedding.md says more.
"""

import asyncio
import signal

import relay


async def main() -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with relay.running():
        print("at work", flush=True)  # the application's own work
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
