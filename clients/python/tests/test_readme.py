"""The programs of README.md, as a new user runs them."""

from __future__ import annotations

import re
import subprocess
import sys

from .routers import ROOT, WAIT_SECONDS
from .test_routers import RouterTest


class Readme(RouterTest):
    def test_its_programs_run(self) -> None:
        router = self.folder.router("--history-bytes", "4MiB")
        page = (ROOT / "clients/python/README.md").read_text()
        programs = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        self.assertEqual(len(programs), 4)
        said = []
        for program in [*programs, programs[-1]]:
            ran = subprocess.run(
                [sys.executable, "-c", program],
                env=self.folder.env | {"MILLRACE_ROUTER": router.address},
                cwd=self.folder.path,
                capture_output=True,
                text=True,
                timeout=WAIT_SECONDS,
                check=False,
            )
            self.assertEqual((ran.returncode, ran.stderr), (0, ""))
            said.append(ran.stdout)
        self.assertIn("hello", said[0])
        self.assertIn("dropped ('few_receivers',)\n1000 confirmed", said[1])
        self.assertIn("resizing cat.png", said[2])
        self.assertIn("replayed=True", said[3])
        self.assertIn("while you were away", said[4])
