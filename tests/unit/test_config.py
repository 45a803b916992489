"""Settings: one file, overridable, all mistakes at once and in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import Settings, load_settings
from agent.domain.errors import ConfigurationError
from agent.domain.model import Purpose, Sector
from tests.conftest import CONFIGURATION


def load(folder: Path, text: str = CONFIGURATION, **environment: str) -> Settings:
    """Settings from ``text`` and the environment."""
    path = folder / "bmn.toml"
    path.write_text(text)
    return load_settings({"BMN_CONFIG": str(path), **environment})


def test_campaigns_become_values_of_the_domain(tmp_path: Path) -> None:
    """A charity has its sector by itself."""
    campaigns = load(tmp_path).domain_campaigns()
    assert campaigns["energy"].sector is Sector.ENERGY
    assert campaigns["energy"].seller.name == "Acme Energie"
    assert (campaigns["charity"].purpose, campaigns["charity"].sector) == (Purpose.CHARITY, Sector.CHARITIES)
    assert campaigns["survey"].sector is None


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    """By section and key, or by a short name."""
    text = CONFIGURATION + '[redis]\nurl = "redis://file/0"\nlookup_timeout_ms = 50\n'
    settings = load(
        tmp_path,
        text,
        BMN_REDIS_URL="redis://short/0",
        BMN_REDIS__LOOKUP_TIMEOUT_MS="70",
        BMN_AGI_LISTEN="127.0.0.1:0",
        BMN_AGI__ALLOWED_PEERS="10.0.0.0/8, 127.0.0.1",
        BMN_DIALLING__PBX_PREFIXES="0,*31*",
        BMN_SELLERS__ACME__NAME="Acme BV",
        PATH="/bin",
    )
    assert (settings.redis.url, settings.redis.lookup_timeout_ms) == ("redis://short/0", 70)
    assert settings.agi.listen == ("127.0.0.1", 0)
    assert [str(peer) for peer in settings.agi.allowed_peers] == ["10.0.0.0/8", "127.0.0.1/32"]
    assert settings.dialling.pbx_prefixes == ("0", "*31*")
    assert settings.sellers["acme"].name == "Acme BV"


def test_paths_of_the_file_are_relative_to_it(tmp_path: Path) -> None:
    """And the key stands beside the journal unless it is told elsewhere."""
    settings = load(tmp_path, CONFIGURATION + '[journal]\npath = "data/j.db"\n')
    assert settings.journal.path == tmp_path / "data" / "j.db"
    assert settings.journal.key_path == tmp_path / "data" / "j.db.key"
    settings = load(tmp_path, CONFIGURATION + '[journal]\nkey_file = "safe/j.key"\n')
    assert settings.journal.key_path == tmp_path / "safe" / "j.key"
    settings = load(tmp_path, BMN_JOURNAL="elsewhere.db", BMN_JOURNAL__KEY_FILE="/etc/key")
    assert (settings.journal.path, settings.journal.key_path) == (Path("elsewhere.db"), Path("/etc/key"))
    settings = load(tmp_path, CONFIGURATION + '[sounds]\npath = "prompts"\n')
    assert settings.sounds.folder == tmp_path / "prompts"
    assert load(tmp_path, BMN_SOUNDS__PATH="prompts").sounds.folder == Path("prompts")


def test_the_prompts_are_by_default_where_this_checkout_builds_them(tmp_path: Path) -> None:
    """So that a site that runs from its checkout need not say so."""
    folder = load(tmp_path).sounds.folder
    assert folder.name == "audio"
    assert (folder.parent / "prompts.toml").is_file()


def test_all_mistakes_are_reported_at_once_and_in_words(tmp_path: Path) -> None:
    """Nobody should have to start five times."""
    text = """
    typo = 1
    [agi]
    listen = "4573"
    workers = 0
    allowed_peers = ["nonsense", "0.0.0.0/0"]
    [redis]
    url = "localhost:6379"
    [sellers.acme]
    [campaigns.a]
    seller = "acme"
    purpose = "commerce"
    [dialling]
    pbx_prefixes = ["zero"]
    profile = "xx"
    """
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    told = "\n".join(caught.value.problems)
    for part in (
        "typo: there is no such setting",
        "agi.listen: an address to listen on is HOST:PORT",
        "agi.workers",
        "agi.allowed_peers.0: a peer is an address or a network",
        "agi.allowed_peers.1: AGI has no passwords",
        "redis.url: the address of Redis begins with",
        "sellers.acme.name: is missing",
        "campaigns.a.purpose",
        "'commercial', 'charity', 'research' or 'service'",
        "pbx_prefixes",
        "there is no profile 'xx'",
    ):
        assert part in told
    assert "pydantic" not in told


@pytest.mark.parametrize(
    ("campaign", "problem"),
    [
        ('purpose = "commercial"', "a commercial campaign needs a sector"),
        ('purpose = "charity"\nsector = "energy"', "a campaign for a charity has the sector charities"),
        ('purpose = "commercial"\nsector = "charities"', "the sector charities goes with the purpose charity"),
        ('purpose = "commercial"\nsector = "energy"\nproduct_group = "Energy Contract"', "product_group"),
        ('purpose = "commercial"\nsector = "energy"\ncaller_id = "0612345678"', "caller_id"),
        ('purpose = "commercial"\nsector = "energy"\nlanguage = "de"', "language"),
    ],
)
def test_a_campaign_that_makes_no_sense_is_refused(tmp_path: Path, campaign: str, problem: str) -> None:
    """Purpose and sector decide what the register blocks, so they must agree."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, f'[sellers.acme]\nname = "A"\n[campaigns.c]\nseller = "acme"\n{campaign}\n')
    assert problem in "\n".join(caught.value.problems)


def test_a_campaign_of_an_unknown_seller_and_a_bad_name_are_refused(tmp_path: Path) -> None:
    """A misspelt seller would look up the opt-outs of nobody."""
    text = '[sellers."Acme BV"]\nname = "A"\n[campaigns.c]\nseller = "acne"\npurpose = "research"\n'
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    told = "\n".join(caught.value.problems)
    assert "there is no seller 'acne'; add [sellers.acne]" in told
    assert "seller 'Acme BV': a name is" in told


def test_a_seller_may_have_had_other_keys(tmp_path: Path) -> None:
    """Its campaigns then carry all of them, and each leads to it."""
    settings = load(tmp_path, BMN_SELLERS__ACME__FORMERLY="acme-bv, acme_old")
    seller = settings.domain_campaigns()["energy"].seller
    assert (seller.key, seller.keys) == ("acme", ("acme", "acme-bv", "acme_old"))
    sellers = settings.domain_sellers()
    assert sellers["acme-bv"] is sellers["acme"]
    assert {"acme", "acme-bv", "acme_old", "hart", "bank"} == settings.assigned_sellers()


def test_a_seller_is_known_by_a_campaign_or_by_being_retired(tmp_path: Path) -> None:
    """Its table alone says nothing: it may have been left behind."""
    text = (
        CONFIGURATION + '[sellers.left]\nname = "L"\n[sellers.gone]\nname = "G"\nretired = true\nformerly = ["old"]\n'
    )
    assert load(tmp_path, text).assigned_sellers() - load(tmp_path).assigned_sellers() == {"gone", "old"}


@pytest.mark.parametrize(
    ("sellers", "problem"),
    [
        ('[sellers.b]\nname = "B"\nformerly = ["a"]', "sellers.b.formerly: 'a' is a seller of its own: remove"),
        ('[sellers.b]\nname = "B"\nformerly = ["b"]', "sellers.b.formerly: 'b' is the key that it has now"),
        ('[sellers.b]\nname = "B"\nformerly = ["x", "x"]', "sellers.b.formerly: 'x' stands here twice"),
        (
            '[sellers.b]\nname = "B"\nformerly = ["x"]\n[sellers.c]\nname = "C"\nformerly = ["x"]',
            "sellers.c.formerly: 'x' stands here of b and of c: a former key belongs to one seller",
        ),
        ('[sellers.b]\nname = "B"\nformerly = ["Acme BV"]', "sellers.b.formerly: 'Acme BV' cannot have been a key"),
        (f'[sellers.b]\nname = "B"\nformerly = {[f"b{n}" for n in range(11)]}', "sellers.b.formerly: "),
        ('[sellers.b]\nname = "B"\nretired = "perhaps"', "sellers.b.retired: "),
        ('[sellers.b]\nname = "B"\n[campaigns.d]\nseller = "x"\npurpose = "research"', "there is no seller 'x'; add"),
        (
            '[sellers.b]\nname = "B"\nformerly = ["x"]\n[campaigns.d]\nseller = "x"\npurpose = "research"',
            "campaigns.d.seller: 'x' is a former key of 'b': name that one",
        ),
        (
            '[sellers.b]\nname = "B"\nretired = true\n[campaigns.d]\nseller = "b"\npurpose = "research"',
            "campaigns.d.seller: 'b' is retired, so no campaign may call for it",
        ),
    ],
)
def test_a_former_key_that_is_not_one_is_refused(tmp_path: Path, sellers: str, problem: str) -> None:
    """It stands for one seller of today, or nobody knows to whom was objected."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, f'[sellers.a]\nname = "A"\n{sellers}\n')
    assert problem in "\n".join(caught.value.problems)


def test_a_missing_or_broken_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    with pytest.raises(ConfigurationError, match="there is no configuration file"):
        load_settings({"BMN_CONFIG": str(tmp_path / "absent.toml")})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path, "[sellers\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bmn.toml").unlink()
    with pytest.raises(ConfigurationError, match="BMN_CONFIG"):
        load_settings({})
    assert load_settings({"BMN_JOURNAL": "j.db"}).campaigns == {}


def test_an_override_that_fits_nowhere_is_a_mistake(tmp_path: Path) -> None:
    """A misspelt variable is not silently ignored."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, BMN_REDIS__ADDRESS="x", BMN_SELLERS__ACME__NAME__MORE="x")
    told = "\n".join(caught.value.problems)
    assert "redis.address: there is no such setting" in told
    assert "BMN_SELLERS__ACME__NAME__MORE" in told


def test_a_password_is_never_shown() -> None:
    """Not in the complaint about the address that it stands in."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"BMN_JOURNAL": "j.db", "BMN_REDIS_URL": "http://:geheim@host?password=geheim"})
    assert "the address of Redis begins with" in caught.value.problems[0]
    assert "geheim" not in str(caught.value.problems)
