"""The examples of the handbook and the README, run as they stand.

A fenced block whose info string is `bash test` or `python test` is run; the blocks of a page share one shell, in their
order. What a block prints is compared with the block `json expect` or `text expect` that follows it, where `…` stands
for anything, and an object of JSON may have more fields than the page shows.
"""

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from markdown_it import MarkdownIt

from examples.system import System, hosted
from keyfold.cli.embedded import Postgres
from keyfold.web.pages.handbook import PAGES, source

needs_tools = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("bash", "curl", "sed", "grep", "tee")),
    reason="THE DOCUMENTATION'S EXAMPLES ARE NOT TESTED: bash, curl, sed, grep or tee is missing",
)
README = Path(__file__).parents[2] / "README.md"
BETWEEN = "\x1e"


class Example(NamedTuple):
    """One block that runs, and what it promises to print, if it does: (`json` or `text`, the text)."""

    script: str
    line: int
    promise: tuple[str, str] | None


def examples(markdown: str) -> list[Example]:
    found: list[Example] = []
    for token in MarkdownIt("commonmark").parse(markdown):
        language, _, role = token.info.partition(" ")
        if token.type != "fence" or not role:
            continue
        line = token.map[0] + 1 if token.map else 0
        if role == "test":
            found.append(Example(token.content if language == "bash" else in_python(token.content), line, None))
        else:
            assert role == "expect", f"line {line}: {token.info!r} is neither `test` nor `expect`"
            assert found, f"line {line}: an expectation before anything runs"
            assert found[-1].promise is None, f"line {line}: one expectation for an example"
            found[-1] = found[-1]._replace(promise=(language, token.content))
    return found


def in_python(script: str) -> str:
    return f"python3 - <<'END_OF_EXAMPLE'\n{script}END_OF_EXAMPLE\n"


DOCUMENTS = {name: source(name) for name in PAGES} | {"README": README.read_text(encoding="utf-8")}
WITH_EXAMPLES = {name: blocks for name, text in DOCUMENTS.items() if (blocks := examples(text))}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with hosted(postgres_server, tmp_path_factory.mktemp("system")) as this:
        yield this


@needs_tools
@pytest.mark.parametrize("page", WITH_EXAMPLES)
@pytest.mark.asyncio(loop_scope="module")
async def test_the_examples_of_a_page_print_what_it_promises(page: str, system: System, tmp_path: Path) -> None:
    printed = await run(WITH_EXAMPLES[page], await system.anew(), tmp_path)
    for example, output in zip(WITH_EXAMPLES[page], printed, strict=True):
        if example.promise is not None:
            difference = compare(*example.promise, output)
            assert not difference, f"{page}, the example at line {example.line}, printed\n{output}\n{difference}"


async def run(blocks: list[Example], system: System, folder: Path) -> list[str]:
    """What each block prints. Fails at the first that fails."""
    script = f"printf '{BETWEEN}'\n".join(["set -euo pipefail\n", *[block.script for block in blocks]])
    variables = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "KEYFOLD": system.url,
        "INTEGRATION_KEY": system.integration_key,
        "ACCOUNT_KEY": system.account_key,
        "NATS": system.nats_url,
        "GATEWAY_CREDENTIALS": system.gateway_credentials,
        "LC_ALL": "C.UTF-8",
    }
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script, cwd=folder, env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(180):
        output, errors = await process.communicate()
    printed = output.decode().split(BETWEEN)[1:]
    assert process.returncode == 0, f"example {len(printed)} of {len(blocks)} failed: {errors.decode()}\n{printed[-1:]}"
    return printed


def compare(kind: str, promised: str, output: str) -> str:
    """How the output breaks the promise, or nothing."""
    if kind == "json":
        return difference(json.loads(promised), json.loads(output), "$")
    lines = [line.strip() for line in output.strip().splitlines()]
    return "" if is_like(promised.strip(), "\n".join(lines)) else f"instead of\n{promised}"


def difference(promised: Any, given: Any, at: str) -> str:
    if isinstance(promised, dict) and isinstance(given, dict):
        missing = [f"{at} has no {name!r}" for name in promised if name not in given]
        return "\n".join(missing) or _first(
            difference(promised[name], given[name], f"{at}.{name}") for name in promised
        )
    if isinstance(promised, list) and isinstance(given, list):
        if len(promised) != len(given):
            return f"{at} has {len(given)} items instead of {len(promised)}"
        return _first(difference(*pair, f"{at}[{n}]") for n, pair in enumerate(zip(promised, given, strict=True)))
    same = is_like(promised, given) if isinstance(promised, str) and isinstance(given, str) else promised == given
    return "" if same else f"{at} is {given!r} instead of {promised!r}"


def is_like(promised: str, given: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in promised.split("…")), given, re.DOTALL) is not None


def _first(differences: Any) -> str:
    return next(filter(None, differences), "")


def test_a_broken_promise_is_noticed() -> None:
    assert compare("json", '{"a": "key_…", "b": [1]}', '{"a": "key_1", "b": [1], "c": 2}') == ""
    assert compare("json", '{"a": "key_…"}', '{"a": "prt_1"}') == "$.a is 'prt_1' instead of 'key_…'"
    assert compare("json", '{"a": [1]}', '{"a": []}') == "$.a has 0 items instead of 1"
    assert compare("json", '{"a": null}', "{}") == "$ has no 'a'"
    assert compare("text", "one\ntwo …", "one\ntwo 2\n") == ""
    assert compare("text", "one", "two")


def test_every_page_that_tells_a_story_has_examples_that_run() -> None:
    assert {"README", "quickstart", "partner-guide", "api", "keys", "operations"} <= WITH_EXAMPLES.keys()
