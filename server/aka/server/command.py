"""The `aka` command's entry: where aka was installed without the server's needs, it says what to install."""

import gc
import sys


def main() -> None:
    """Run the command; exits with 1 where it cannot be."""
    gc.set_threshold(50_000, 20, 100)  # what modules make stays, and need not be looked through again and again
    try:
        from aka.server.__main__ import main as command

        command()
    except ModuleNotFoundError as missing:
        if missing.name is not None and missing.name.split(".")[0] == "aka":
            raise
        sys.exit(f"aka: {missing.name} is not installed; the command needs: pip install 'aka[server]'")
