"""Trust material: what follows from a root stays the same for ever, and shows nothing of itself."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies

from keyfold.bus import topology
from keyfold.bus.nkeys import claims_of
from keyfold.bus.topology import LOGINS, Cluster, configuration, core_login, generations_of
from keyfold.bus.trust import ACCOUNTS, Generation, Root, read_credentials, read_keys
from keyfold.settings import Secret, Settings, SettingsError

ROOT = Root(bytes(range(32)))
FIRST, SECOND = ROOT.generation(1), ROOT.generation(2)
KEY = "key_01h455vb4pex5vsknk084sn02q"


GOLDEN = {
    "operator": "OBOCLYPPKYN4F7TOCJU7IFQYCWFZ5WUVEOHB5BZB35YFW2UDXLFGVRPU",
    "sys": "ABRFAVMGU6JZOP3RGF74VQMGAYAZ43QTOVNJ25LNRH5Q7FSBNKBLLCDB",
    "auth": "ACGHRRC2Y26Z2GZBR3Y24RLHVLHK5MIU4VCZMBPKQKX4TA43WZKIWKBI",
    "core": "AC6BQYZLPBL4ZQXMW6DYUUN6BZW6DF2WNEYWCX7HJID3IIXVHE2N4N62",
    "gateway": "ADALNEJOSWPGXC25MR7AUCRBNL43P34Z236TB2HFOGATLA4AFUAX5ZAN",
    "routes": "feab4553e4c433c4",
    "signs accounts": "OD77W5PCURJNJJSBXVALR2C7QLNM7NCT5DUTTODGD7Q2XFZ6MAJGRRJX",
    "callout": "XCLLARLICPC2AUOK6ZNUUIG622W4KMGKK4ZKSYIR2WJDQQOI3IGHBTRB",
    "account": "AB3I4IZEMIO4YWQJTWSZ5KNMBTHXZXTX6TMWDJR2GT3ANWEDHP3DJQVX",
    "signs CORE": "AAILAMOXCKAC7L7AXL7SJZWVWS64NKHG72NADBZCFMRPMTSCG3FGCU47",
    "user api": "UD6GK5D4OXBWRXFAWRZUFTJGRAOTMOIPSXTVFCSW5LSBGYD5F3NHWPTH",
    "user worker": "UCCM3YPPE2ZUIRAGGPBFNUCZPAYVEAGNBBOAHVKHXD66HYUVNZV3PG4L",
    "user gateway": "UDT6Y5OAQWWRNHA2ECIZNAH4ULCB6VBOJLALGIDEQ2XQ2OSGJJRPK4QA",
    "user callout": "UAXNGO4XND7TRYE5FAIU33QRBNRXQB7XK4IEU4J7EFVGEWPELIJNFFUC",
    "user accounts": "UCM2J3UAAG2EBUP7HJCWPPFCGYSIQS6J5XF6TYKPOD4DX6YXOWOCG2R3",
    "second": "ADKMWHGZWCI4OUZUH5UZBQ2I6HOE6AWRMUP4WPRKXNFN2YKCYGXYI4MH",
    "setting": "1:yZ7iSXEtZwESaN9RZE",
}


def configured(*generations: Generation, **more: Any) -> str:
    return configuration(ROOT, generations, name="n1", listen="127.0.0.1:4222", store=Path("/data"), **more)


def claims(text: str, name: str) -> Any:
    """Of an account in a configuration."""
    (line,) = [line for line in text.splitlines() if f'"{ROOT.accounts[name].public}":' in line]
    return claims_of(line.split('"')[3])


def settings(**given: Any) -> Settings:
    return Settings(database_url="", peppers={}, **given)


def test_what_follows_from_a_root_never_changes() -> None:
    """Whoever changes one of these takes every installation's streams, logins and connections from it."""
    assert {
        "operator": ROOT.operator.public,
        **ROOT.identities._asdict(),
        "routes": ROOT.route_password()[:16],
        "signs accounts": FIRST.operator.public,
        "callout": FIRST.xkey.public,
        "account": FIRST.account(KEY).public,
        "signs CORE": FIRST.signer("CORE").public,
        **{f"user {name}": FIRST.user(name).public for name in LOGINS},
        "second": SECOND.account(KEY).public,
        "setting": FIRST.setting()[:20],
    } == GOLDEN


def test_all_keys_of_all_purposes_and_generations_differ() -> None:
    purposes: list[str] = [ROOT.operator.public, *ROOT.identities, *(Root(bytes(32)).identities)]
    for each in (FIRST, SECOND):
        purposes += [each.operator.public, each.xkey.public, each.account(KEY).public, each.account("key_2").public]
        purposes += [each.signer(name).public for name in ACCOUNTS]
        purposes += [each.user(name).public for name in LOGINS]
    assert len({*purposes}) == len(purposes)


def test_a_root_has_32_bytes_or_more() -> None:
    with pytest.raises(ValueError):
        Root(bytes(31))
    assert Root(bytes(33)).operator.public != Root(bytes(32)).operator.public


def test_a_process_gets_the_generations_in_the_order_in_which_they_stand() -> None:
    """The first is what it uses, whatever the numbers are."""
    for order in ((FIRST, SECOND), (SECOND, FIRST)):
        read = read_keys(",".join(each.setting() for each in order))
        assert [each.number for each in read] == [each.number for each in order]
        for mine, theirs in zip(read, order, strict=True):
            assert mine.identities == ROOT.identities
            assert mine.account(KEY).seed == theirs.account(KEY).seed
            assert mine.xkey.public == theirs.xkey.public


def test_a_process_cant_go_back_from_its_generation_to_the_root() -> None:
    """What it is given is the generation's own secret and public keys, and nothing else."""
    data = base64.b64decode(FIRST.setting().removeprefix("1:"))
    assert len(data) == 32 * 5
    known = [data[n : n + 32] for n in range(0, len(data), 32)]
    assert bytes(range(32)) not in known
    for each in (ROOT.operator, *ROOT.accounts.values(), SECOND.operator):
        assert bytes(each._signing) not in known


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1:", ":", "x:", "1:hunter2", f"{FIRST.setting()},", f"{FIRST.setting()}A", f"0{FIRST.setting()}"),
        *(f"{FIRST.setting()},{FIRST.setting()}", FIRST.setting()[:-4], f"٣{FIRST.setting()[1:]}"),
    ],
)
def test_keys_that_cant_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_keys(text)


@given(strategies.text(max_size=300) | strategies.text("0123456789:,=AQgw+/", max_size=300))
def test_any_other_text_is_no_keys_and_no_credentials(text: str) -> None:
    for read in (read_keys, read_credentials):
        with pytest.raises(ValueError):
            read(text)


@given(strategies.integers(0, len(FIRST.login("CORE", "worker").file()) - 1), strategies.characters())
def test_credentials_with_a_wrong_letter_are_refused_or_have_the_same_key(place: int, letter: str) -> None:
    text = FIRST.login("CORE", "worker").file()
    try:
        read = read_credentials(text[:place] + letter + text[place + 1 :])
    except ValueError:
        return
    assert read.key.public == FIRST.user("worker").public


def test_credentials_are_read_as_they_are_written() -> None:
    login = topology.login(FIRST, "worker")
    read = read_credentials(login.file())
    assert (read.jwt, read.key.seed) == (login.jwt, login.key.seed)
    assert read_credentials(login.file().replace("\n", "\r\n")).key.seed == login.key.seed


def test_nothing_shows_what_is_secret() -> None:
    login = topology.login(FIRST, "api")
    shown = [repr(each) for each in (ROOT, FIRST, login, FIRST.xkey, FIRST.account(KEY))]
    secrets = [
        login.key.seed,
        FIRST.account(KEY).seed,
        ROOT.operator.seed,
        FIRST.setting()[2:44],
        ROOT.route_password(),
    ]
    assert not [text for text in shown for secret in secrets if secret in text]
    text = configured(FIRST, SECOND)
    assert not [secret for secret in secrets if secret in text]


def test_a_login_is_signed_for_its_account_by_the_generation() -> None:
    for name, (account, permissions) in LOGINS.items():
        said = claims_of(topology.login(FIRST, name).jwt)
        assert (said["sub"], said["iss"]) == (FIRST.user(name).public, FIRST.signer(account).public)
        assert said["nats"]["issuer_account"] == ROOT.accounts[account].public
        assert permissions.items() <= said["nats"].items()


def test_servers_trust_what_the_generations_sign_and_know_the_same_accounts() -> None:
    one, both = configured(FIRST), configured(FIRST, SECOND)
    for name in ACCOUNTS:
        assert claims(one, name)["nats"]["signing_keys"] == [FIRST.signer(name).public]
        assert claims(both, name)["nats"]["signing_keys"] == [each.signer(name).public for each in (FIRST, SECOND)]


def test_the_callout_is_sealed_for_the_oldest_generation_that_servers_trust() -> None:
    for generations, oldest in (((FIRST,), FIRST), ((SECOND, FIRST), FIRST), ((SECOND,), SECOND)):
        callout = claims(configured(*generations), "AUTH")["nats"]["authorization"]
        assert callout["xkey"] == oldest.xkey.public
        assert {*callout["auth_users"]} == {each.user("callout").public for each in generations}


def test_a_server_can_reload_a_file_that_trusts_the_same_in_whichever_order() -> None:
    """It takes no other operator without a restart, not even one that is only younger."""

    def said(*generations: Generation) -> list[str]:
        return [line for line in configured(*generations).splitlines() if line.startswith(("operator", "default_"))]

    assert said(FIRST, SECOND) == said(SECOND, FIRST)
    assert "".join(said(FIRST)) != "".join(said(SECOND))
    assert claims_of(said(FIRST)[0].split()[1])["iat"] == 0


def test_servers_of_a_cluster_show_each_other_a_password() -> None:
    routes = ("127.0.0.1:1", "127.0.0.1:2")
    cluster = Cluster("keyfold", "127.0.0.1:1", routes, advertise="n1:1", tls={"cert_file": "c"})
    (line,) = [line for line in configured(FIRST, cluster=cluster).splitlines() if line.startswith("cluster: ")]
    said = json.loads(line.removeprefix("cluster: "))
    assert said["authorization"] == {"user": "route", "password": ROOT.route_password()}
    assert said["routes"] == [f"nats://route:{ROOT.route_password()}@{each}" for each in routes]
    assert (said["advertise"], said["tls"]) == ("n1:1", {"cert_file": "c"})
    assert ROOT.route_password() not in configured(FIRST)


def test_a_process_logs_in_by_its_keys_or_its_file(tmp_path: Path) -> None:
    file = tmp_path / "nats.creds"
    file.write_text(topology.login(FIRST, "worker").file())
    keys = Secret(f"{SECOND.setting()},{FIRST.setting()}".encode())
    api, worker = core_login(settings(nats_keys=keys)), core_login(settings(nats_credentials=str(file)))
    assert api is not None
    assert worker is not None
    assert api.key.public == SECOND.user("api").public
    assert worker.key.public == FIRST.user("worker").public
    assert core_login(settings()) is None


@pytest.mark.parametrize("given", [{"nats_keys": Secret(b"1:hunter2")}, {"nats_credentials": "/nowhere/hunter2"}])
def test_a_login_that_cant_be_read_is_said_and_not_repeated(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="KEYFOLD_NATS_") as error:
        core_login(settings(**given))
    assert "hunter2" not in str(error.value)


def test_an_api_without_keys_says_where_they_come_from() -> None:
    with pytest.raises(SettingsError, match="KEYFOLD_NATS_KEYS is not set"):
        generations_of(settings())


def test_a_setting_shows_no_keys() -> None:
    this = settings(nats_keys=Secret(FIRST.setting().encode()))
    assert FIRST.setting()[2:44] not in repr(this) + str(msgspec.structs.asdict(this))
