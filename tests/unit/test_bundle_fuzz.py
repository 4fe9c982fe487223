"""Bundles with something in them that nobody would have written: each gets a verdict, and none a wrong one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfold_client.audit._strict import count_of, hash_of, list_of_hashes, members
from keyfold_client.audit.manifests import CHECKPOINT, CONSISTENCY, LEAVES, MANIFEST, PROOFS, RECORDS
from keyfold_client.audit.trust import Asked
from keyfold_client.audit.verdicts import ALTERED, LACKING, VERIFIED, verify

from .fake_log import FakeLog

PART = (MANIFEST, CHECKPOINT, RECORDS, PROOFS, CONSISTENCY)
WHOLE = (MANIFEST, CHECKPOINT, RECORDS, LEAVES)
ODD = ["1e400", "-1", "3.0", '"3"', "true", "null", "NaN", "[]", "{}", "9" * 30, "9" * 5000, "[" * 9000, "\\ud800", " "]
FILES = [(kind, name) for kind, names in (("part", PART), ("whole", WHOLE)) for name in names]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    log = FakeLog().append("ws_a", 2).append("ws_b", 2).append("ws_a").sign()
    return {"part": log.export(folder / "part", since=(2, 4)), "whole": log.export_whole(folder / "whole")}


def judged(bundle: Path, into: Path, name: str, content: bytes) -> tuple[int, dict[str, Any]]:
    """The verdict on the bundle with another file in the place of one."""
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(bundle, into / "bundle")
    (into / "bundle" / name).write_bytes(content)
    verdict = verify(str(into / "bundle"), Asked(), into / "state")
    json.dumps(verdict.facts)
    assert verdict.text
    return verdict.status, verdict.facts


@pytest.mark.parametrize(
    ("name", "member"), [(MANIFEST, "size"), (MANIFEST, "records"), (PROOFS, "position"), (CONSISTENCY, "size")]
)
def test_a_number_is_a_number_and_nothing_else(
    bundles: dict[str, Path], tmp_path: Path, name: str, member: str
) -> None:
    good = (bundles["part"] / name).read_text()
    line = json.loads(good) if name == MANIFEST else json.loads(good.splitlines()[0])
    of = json.dumps(line[member])
    separator = ": " if name == MANIFEST else ":"
    for odd in (*ODD[:10], f'"{of}"', f"{of}.0", f"{of}e0"):
        bad = good.replace(f'"{member}"{separator}{of}', f'"{member}"{separator}{odd}', 1)
        assert bad != good
        status, facts = judged(bundles["part"], tmp_path / "x", name, bad.encode())
        assert status == (LACKING if name == MANIFEST else ALTERED), (odd, facts)
        assert "Error(" not in facts["why"]


@pytest.mark.parametrize("line", ["null", "", "[]", "3", '[["position",1],["hashes",[]]]', '{"position":9}'])
def test_a_line_that_is_no_proof_is_no_part_of_a_bundle(bundles: dict[str, Path], tmp_path: Path, line: str) -> None:
    good = (bundles["part"] / PROOFS).read_text()
    status, facts = judged(bundles["part"], tmp_path / "x", PROOFS, f"{good}{line}\n".encode())
    assert (status, facts["position"]) == (ALTERED, None)
    assert "Line 4 of proofs.ndjson" in facts["why"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_file_there_is_a_verdict(
    bundles: dict[str, Path], tmp_path: Path, data: st.DataObject
) -> None:
    """Verified only where what counts is still there: the manifest's own words may change, and white space."""
    kind, name = data.draw(st.sampled_from(FILES))
    good = (bundles[kind] / name).read_bytes()
    begin, end = sorted((data.draw(st.integers(0, len(good))), data.draw(st.integers(0, len(good)))))
    piece = data.draw(st.sampled_from([*(each.encode() for each in ODD), good[begin:end], b"\n", b"\xff", b""]))
    end = data.draw(st.sampled_from([begin, min(begin + 1, len(good)), end]))
    bad = good[:begin] + piece + good[end:]
    status, facts = judged(bundles[kind], tmp_path / "x", name, bad)
    assert status in {VERIFIED, ALTERED, LACKING}
    if name in {CHECKPOINT, RECORDS, LEAVES}:
        assert (status == VERIFIED) == (bad == good), facts


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


@given(VALUES)
def test_readers_of_values_take_one_form_or_refuse(value: Any) -> None:
    for read, form in ((count_of, int), (hash_of, str), (list_of_hashes, list)):
        try:
            read(value)
        except ValueError:
            continue
        assert type(value) is form


@given(VALUES, st.text(max_size=9))
def test_an_object_has_just_the_members_that_it_should_have(value: Any, name: str) -> None:
    line = json.dumps(value).encode()
    try:
        found = members(line, name)
    except ValueError:
        return
    assert [*value] == [name]
    assert json.dumps(found) == json.dumps([value[name]])
