"""`python -m keyfold_client.audit verify …`: needs nothing but this folder and `cryptography`; httpx for addresses."""

import argparse
import json
import os
import re
import sys
from pathlib import Path

from .memory import state_folder
from .trust import Asked
from .verdicts import LACKING, Verdict, verify

_KEY = re.compile(r"\bkf_[a-z]+_[0-9A-Za-z_]+\b")


def main() -> int:
    arguments = _parser().parse_args()
    try:
        verdict = _judged(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("stopped: nothing of this is remembered\n")
        return 130
    sys.stdout.write(f"{json.dumps(verdict.facts) if arguments.json else verdict.text}\n")
    return verdict.status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m keyfold_client.audit", description="Verify a log of Keyfold.")
    verifying = parser.add_subparsers(required=True).add_parser(
        "verify", help="a bundle's folder, a proof's file, or the address of a live log"
    )
    verifying.add_argument("target", metavar="PATH|URL")
    verifying.add_argument("--key-file", type=Path, help="a file with the key to read records with; else KEYFOLD_KEY")
    verifying.add_argument("--vkey", action="append", default=[], help="a verifier key of the log; may be repeated")
    verifying.add_argument("--witness", action="append", default=[], help="a verifier key of a witness; likewise")
    verifying.add_argument("--quorum", type=int, default=0, help="how many of the witnesses must have cosigned")
    verifying.add_argument("--state", type=Path, help=f"what was seen is kept here; by default in {state_folder()}")
    verifying.add_argument("--again", action="store_true", help="of a live log, read records that were read before too")
    verifying.add_argument("--json", action="store_true")
    return parser


def _judged(arguments: argparse.Namespace) -> Verdict:
    try:
        text = arguments.key_file.read_text() if arguments.key_file else os.environ.get("KEYFOLD_KEY", "")
    except OSError as error:
        return Verdict(LACKING, {"verified": None, "why": str(error)}, (f"CAN'T TELL  {error}",))
    found = _KEY.search(text)
    return verify(
        arguments.target,
        Asked(tuple(arguments.vkey), tuple(arguments.witness), arguments.quorum),
        arguments.state or state_folder(),
        key=found[0] if found else None,
        again=arguments.again,
        progress=_shown if sys.stderr.isatty() else lambda done, of: None,
    )


def _shown(done: int, of: int) -> None:
    sys.stderr.write(f"\r{done:,} of {of:,}{'' if done < of else chr(10)}")


if __name__ == "__main__":
    sys.exit(main())
