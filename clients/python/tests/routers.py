"""Real routers for tests, each with a folder of its own. MILLRACE_BIN names the folder of the
programs.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ.get("MILLRACE_BIN", ROOT / "target/release")).resolve()
# Nothing here takes that long: a test that hangs ends, and says so.
WAIT_SECONDS = 120.0


class Folder:
    """A folder that is the home of what a test starts."""

    def __init__(self, test: unittest.TestCase) -> None:
        folder = tempfile.TemporaryDirectory()
        test.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name)
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")
        }
        self.env = kept | {"HOME": folder.name, "XDG_RUNTIME_DIR": folder.name}
        self._test = test

    def router(self, *arguments: str, listen: str = "127.0.0.1:0") -> Router:
        router = Router(self, listen, arguments)
        self._test.addCleanup(router.kill)
        return router

    def millrace(self, *arguments: str) -> str:
        """What the command prints; it must succeed."""
        command = [str(BIN / "millrace"), *arguments]
        ran = subprocess.run(
            command, env=self.env, capture_output=True, timeout=WAIT_SECONDS, check=False
        )
        if ran.returncode != 0:
            raise AssertionError(f"{command} ended with {ran.returncode}: {ran.stderr.decode()}")
        return ran.stdout.decode()


class Router:
    """A router that is ready."""

    def __init__(self, folder: Folder, listen: str, arguments: tuple[str, ...]) -> None:
        command = [
            str(BIN / "millrace-router"),
            "--listen",
            listen,
            "--admin",
            "off",
            "--ready-json",
            *arguments,
        ]
        self._child = subprocess.Popen(
            command, env=folder.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        alarm = threading.Timer(WAIT_SECONDS, self._child.kill)
        alarm.start()
        assert self._child.stdout
        line = self._child.stdout.readline()
        alarm.cancel()
        if not line:
            _, said = self._child.communicate()
            raise AssertionError(f"the router ended before it was ready: {said.decode()}")
        ready = json.loads(line)
        self.address: str = ready["addr"]
        self.ca: str | None = ready["ca"]

    def kill(self) -> None:
        """Ends it at once, as power does."""
        self._child.kill()
        self._child.communicate()

    def terminate(self) -> None:
        """Asks it to end in order; it goes on until its clients have left or its grace is over."""
        self._child.send_signal(signal.SIGTERM)
