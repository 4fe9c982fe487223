"""A real Chromium, driven over the DevTools protocol on a pipe: no driver, no package, no port."""

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

PATH = Path("/usr/bin/chromium")
PATIENCE = 30.0
"""Seconds that anything may take on a busy machine."""

# Chromium expects the pipe on the descriptors 3 and 4
_LAUNCHER = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--lang=en-GB",
)


class BrowserError(Exception):
    """The browser answered with an error."""


class Browser:
    """One browser process. Commands are answered in any order; events go to the page that they are of."""

    def __init__(self, write: int) -> None:
        self._write = write
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._pages: dict[str, Page] = {}
        self._attached_to: set[str] = set()
        self._profiles: list[Page] = []
        self._used: list[Page] = []
        self._kept: set[str] = set()

    async def call(self, method: str, session: str = "", **params: Any) -> Any:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def page(self, *, beside: "Page | None" = None) -> "Page":
        """A new tab of a profile of its own, as good as new, or of the same as another one."""
        context = beside.context if beside else await self._profile()
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        return await self._attached(target["targetId"], context)

    async def _profile(self) -> str:
        """One as good as new. Chromium takes a second to make one, and as long for its first window."""
        if not self._profiles:
            made = (await self.call("Target.createBrowserContext"))["browserContextId"]
            self._profiles.append(await self._tab(made))
        self._used.append(self._profiles.pop())
        return self._used[-1].context

    async def clear(self) -> None:
        """Closes every tab that was asked for, since one that nobody looks at any more goes on with its animations and
        its streams; and forgets all that the profiles have seen: of each, the first tab stays, empty."""
        known = (await self.call("Target.getTargets"))["targetInfos"]
        for each in known:
            if each["type"] == "page" and each["targetId"] not in self._kept:
                with contextlib.suppress(BrowserError):  # it was just being closed
                    await self.call("Target.closeTarget", targetId=each["targetId"])
        while self._used:
            first = self._used.pop()
            await first.call("Storage.clearDataForOrigin", origin="*", storageTypes="all")
            await first.call("Network.clearBrowserCache")
            for method in ("Storage.clearCookies", "Browser.resetPermissions"):
                await self.call(method, browserContextId=first.context)
            await self.call("Browser.setDownloadBehavior", behavior="default", browserContextId=first.context)
            self._profiles.append(first)

    async def _tab(self, context: str) -> "Page":
        """The first of a profile."""
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        self._kept.add(target["targetId"])
        return await self._attached(target["targetId"], context)

    async def _attached(self, target: str, context: str) -> "Page":
        self._attached_to.add(target)
        attached = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"], context)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        return page

    async def within(self, page: "Page", kind: str, address: str) -> "Page":
        """What newly has this address: a `page` that another one opened, or an `iframe` of another site."""
        found: list[str] = []

        async def is_there() -> bool:
            known = (await self.call("Target.getTargets"))["targetInfos"]
            ours = [each for each in known if (each["type"], each["browserContextId"]) == (kind, page.context)]
            found[:] = [each["targetId"] for each in ours if each["url"].startswith(address)]
            found[:] = [each for each in found if each not in self._attached_to]
            return bool(found)

        await wait_until(is_there, f"{kind} {address}")
        return await self._attached(found[-1], page.context)

    async def listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                message = json.loads((await reader.readuntil(b"\0"))[:-1])
            except asyncio.IncompleteReadError:
                return
            if "id" not in message:
                page = self._pages.get(message.get("sessionId", ""))
                if page is not None:
                    page.heard(message["method"], message["params"])
            elif (answer := self._answers.pop(message["id"])).done():
                continue  # nobody waits for it any more
            elif "error" in message:
                answer.set_exception(BrowserError(message["error"]["message"]))
            else:
                answer.set_result(message["result"])


_MIDDLE = """async (selector) => {
    for (let before = "";;) {
        const element = document.querySelector(selector);
        element.scrollIntoView({behavior: "instant", block: "center"});
        const box = element.getBoundingClientRect();
        const middle = [box.x + box.width / 2, box.y + box.height / 2];
        const settles = document.querySelector(".htmx-settling, .htmx-added, .htmx-swapping");
        if (`${middle}` === before && !settles) return middle;
        before = `${middle}`;
        await new Promise((done) => [requestAnimationFrame(done), setTimeout(done, 50)]);
    }
}"""


class Page:
    """A tab. `complaints` are what the console would show in red, failed requests aside; `received` counts
    bytes over the wire, headers included."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self._browser = browser
        self._session = session
        self.context = context
        self.received = 0

    async def call(self, method: str, **params: Any) -> Any:
        return await self._browser.call(method, self._session, **params)

    def heard(self, event: str, params: Any) -> None:
        match event:
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error" and params["entry"]["source"] != "network":
                self.complaints.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                request = params["request"]
                self.requests.append(request["url"] + request.get("urlFragment", ""))
            case "Network.loadingFinished":
                self.received += int(params["encodedDataLength"])
            case "Page.javascriptDialogOpening":
                self.dialogs.append(params["type"])

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Waits until the expression is true, whatever page it is true on."""
        try:
            await wait_until(lambda: self._is_true(expression), expression)
        except AssertionError as error:
            error.add_note(f"The page says:\n{await self.text('body')}")
            raise

    async def _is_true(self, expression: str) -> bool:
        try:
            return bool(await self.evaluate(expression))
        except BrowserError:
            return False  # between two documents

    async def shown(self, section: str) -> None:
        """Waits until this is the section of the page that shows."""
        await self.until(f"document.querySelector('main > section:not([hidden])')?.id === '{section}'")

    async def text(self, selector: str) -> str:
        """What a person reads there."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def click(self, selector: str) -> None:
        """A real click in the middle of the element, as by a mouse: once htmx has settled what it has brought, and the
        element stays where it is (pages scroll smoothly), as people wait for it, too."""
        middle = await self.evaluate(f"({_MIDDLE})({json.dumps(selector)})")
        at = {"x": middle[0], "y": middle[1], "button": "left", "clickCount": 1}
        await self.call("Input.dispatchMouseEvent", type="mousePressed", **at)
        await self.call("Input.dispatchMouseEvent", type="mouseReleased", **at)

    async def framed(self, address: str) -> "Page":
        """The frame of another site that begins with this address."""
        return await self._browser.within(self, "iframe", address)

    async def opened(self, address: str) -> "Page":
        """The tab that this one has opened."""
        return await self._browser.within(self, "page", address)

    async def press(self, key: str) -> None:
        """A key on the keyboard: `Tab`, `Enter`, `Escape`."""
        code = {"Tab": 9, "Enter": 13, "Escape": 27}[key]
        pressed: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        if key == "Enter":
            pressed["text"] = "\r"
        await self.call("Input.dispatchKeyEvent", type="keyDown", **pressed)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    async def type_text(self, text: str) -> None:
        """Into what has the focus, a key at a time."""
        for each in text:
            await self.call("Input.dispatchKeyEvent", type="keyDown", key=each, text=each)
            await self.call("Input.dispatchKeyEvent", type="keyUp", key=each)

    async def answer_dialog(self, *, accept: bool) -> str:
        """Answers the dialog that is open, or is about to be, and gives its type."""

        async def is_open() -> bool:
            return bool(self.dialogs)

        await wait_until(is_open, "a dialog")
        await self.call("Page.handleJavaScriptDialog", accept=accept)
        return self.dialogs.pop()

    async def offline(self, is_offline: bool) -> None:
        await self.call(
            "Network.emulateNetworkConditions",
            offline=is_offline,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    async def downloads_to(self, folder: Path) -> None:
        where = {"browserContextId": self.context, "downloadPath": str(folder)}
        await self._browser.call("Browser.setDownloadBehavior", behavior="allow", **where)

    async def may_use_clipboard(self) -> None:
        permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        await self._browser.call("Browser.grantPermissions", permissions=permissions, browserContextId=self.context)

    async def resize(self, width: int, height: int = 900) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    async def prefer(self, scheme: str) -> None:
        """`light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def screenshot(self, path: Path, **clip: float) -> None:
        """The whole page, not only what fits the window; or of what fits a part, as the protocol's `clip` says."""
        part = {"clip": clip} if clip else {"captureBeyondViewport": True}
        taken = await self.call("Page.captureScreenshot", format="png", **part)
        path.write_bytes(base64.b64decode(taken["data"]))


async def wait_until(true: Callable[[], Awaitable[bool]], what: str) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while not await true():
        assert loop.time() < deadline, f"not within {PATIENCE} s: {what}"
        await asyncio.sleep(0.03)


@contextlib.asynccontextmanager
async def browsing(profile: Path) -> AsyncIterator[Browser]:
    """A browser until the block ends."""
    to_browser, from_browser = os.pipe(), os.pipe()
    options = [*_OPTIONS, f"--user-data-dir={profile}"] + (["--no-sandbox"] if os.geteuid() == 0 else [])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _LAUNCHER, str(to_browser[0]), str(from_browser[1]), str(PATH), *options),
        pass_fds=(to_browser[0], from_browser[1]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(from_browser[0], "rb")
    )
    browser = Browser(to_browser[1])
    listening = asyncio.create_task(browser.listen(reader))
    try:
        yield browser
        await browser.call("Browser.close")
    finally:
        if process.returncode is None:
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        os.close(to_browser[1])
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        transport.close()
