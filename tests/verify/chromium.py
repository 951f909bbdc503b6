"""Headless Chromium by its debugging pipe (the DevTools protocol over two file descriptors), without a library."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest


class Chromium:
    """One page. `problems` collects console errors and exceptions, `requests` every address that was asked for."""

    def __init__(self) -> None:
        browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if browser is None:
            pytest.skip("Chromium is not installed: `apt-get install chromium`, or bash tests/setup.sh")
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._count = 0
        self._rest = b""
        self._profile = tempfile.mkdtemp()
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        words = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        words += ["--remote-debugging-pipe", f"--user-data-dir={self._profile}", "--hide-scrollbars", "about:blank"]
        # The browser reads file descriptor 3 and writes 4.
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *words],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **words: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer; events that come before it are noted."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": words}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            assert more, "Chromium ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        words = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(words["exceptionDetails"]["text"])
            case "Runtime.consoleAPICalled" if words["type"] in ("error", "warning", "assert"):
                self.problems.append(str(words["args"]))
            case "Log.entryAdded" if words["entry"]["level"] in ("error", "warning"):
                self.problems.append(words["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(words["request"]["url"])

    def open(self, path: Path, width: int, height: int, *, mobile: bool = False) -> None:
        """Opens a page at a size, and waits until its script has said that it has drawn."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Page.navigate", url=path.resolve().as_uri())
        drawn = """new Promise((done) => {
          const look = () => document.body && document.body.dataset.drawn ? done(document.body.dataset.drawn) : setTimeout(look, 50);
          look(); })"""
        assert self.run(drawn) == "yes", self.run("document.getElementById('problem').textContent")

    def run(self, script: str) -> Any:
        """What an expression gives; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._write)
        os.close(self._read)
        self._process.terminate()
        self._process.wait(timeout=20)
        shutil.rmtree(self._profile, ignore_errors=True)
