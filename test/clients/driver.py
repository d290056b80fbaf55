# The app around the client in the tests: app_test.go answers its requests.

import asyncio
import sys
from urllib.parse import urlencode
from urllib.request import urlopen

from client import Refresher

service, app, uid = sys.argv[1:]


async def ask(what, **query):
    def get():
        with urlopen(f"{app}/{what}?{urlencode(query)}") as answer:
            return answer.read().decode()

    return await asyncio.to_thread(get)


async def apply(tokens, action):
    code = await ask("sdk", action=action, token=tokens["rtc"]["token"])
    return int(code) if code else None


async def main():
    refresher = Refresher(service, lambda: ask("credential"), {"rtc": {"channel": "daily", "uid": int(uid), "role": "publisher"}}, apply)

    async def obey():
        while command := await ask("next"):
            if command == "wake":
                refresher.wake()
            elif command != "none":
                await {"leave": refresher.leave, "expired": refresher.expired}[command]()

    obeying = asyncio.ensure_future(obey())
    await ask("over", reason=await refresher.run())
    await obeying


asyncio.run(main())
