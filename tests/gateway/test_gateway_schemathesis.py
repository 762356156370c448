"""schemathesis calls a server by its OpenAPI document, with what that allows and forbids, and finds no fault."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.cli.command import KEY, aka, serving

LONG: Final = os.environ.get("AKA_TEST_LONG") == "1"
EXAMPLES: Final = 100 if LONG else 1
"""Cases that are made up for each endpoint, beside those that cover its schemas."""
CASES: Final = 2000 if LONG else 500
"""How many there must be in all at least, so that a run that tries nothing does not pass."""

SCHEMATHESIS: Final = str(Path(sys.executable).with_name("st"))
SETTINGS: Final = str(Path(__file__).with_name("schemathesis.toml"))


@pytest.mark.timeout(1800)
def test_schemathesis_finds_no_fault(tmp_path: Path) -> None:
    with serving(cwd=tmp_path, settings={"rest_address": "127.0.0.1:0", "rate_limit": "off"}) as server:
        ran = subprocess.run(
            [
                *(SCHEMATHESIS, "--config-file", SETTINGS, "run", f"http://{server.rest}/openapi.json"),
                *("--max-examples", str(EXAMPLES), "--seed", "1", "--warnings", "off", "--no-color"),
            ],
            cwd=tmp_path,
            env=os.environ | {"AKA_KEY": KEY},
            capture_output=True,
            text=True,
            check=False,
        )
        cases = re.search(r"(\d+) generated, (\d+) passed", ran.stdout)
        assert ran.returncode == 0 and cases is not None, ran.stdout + ran.stderr
        assert int(cases[1]) == int(cases[2]) >= CASES
        assert "internal error" not in server.stderr
        server.stop()
    assert aka("check", "--database", f"sqlite:///{tmp_path}/aka.db", cwd=tmp_path).code == 0
