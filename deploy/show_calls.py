"""What ``./deploy/demo`` shows once everything is installed: real calls, told in the words of a call centre."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from agent.domain.dialogue import NL_BMNR_NOTICE
from deploy.lab import CallOutcome, Lab
from deploy.lab.agent_service import AgentService, bmn
from deploy.lab.redis_server import PrivateRedis

DEPLOY = Path(__file__).parent
CAMPAIGN, CHARITY = "energy-autumn", "winter-appeal"
REGISTERED, FREE, FREE_E164 = "0612345678", "06-87654321", "+31687654321"
OPTED_OUT = "0687650001"
REACTION_S = 0.5
LISTEN_S = NL_BMNR_NOTICE.listen_ms / 1000 + REACTION_S
"""An earlier key answers nothing."""
ANSWERS = (
    ("menu-", "2", "into the register"),
    ("sector-", "1", "for everything"),
    ("charities", "2", "but charities may call"),
)
"""What the consumer is asked, which key he presses, and what that means."""


class NotAsItShould(Exception):
    """The demo saw something else than it promises."""


@dataclass(slots=True)
class Stage:
    """What runs during the demo, and how calls on it are told."""

    lab: Lab
    agent: AgentService
    environment: dict[str, str]
    calls: int = 0

    def call(
        self, title: str, dialled: str, *, expect: str, invites: list[str], campaign: str = CAMPAIGN
    ) -> CallOutcome:
        """Place a call, tell what happened, and insist that it is what should."""
        self._begin(title, dialled, campaign)
        before = len(self.lab.invites_from_trunk())
        outcome = self.lab.call(dialled, campaign=campaign, agent="agent-17", language="nl", hold_s=1.0)
        sent = self.lab.invites_from_trunk()[before:]
        _, verdict, reason, _ = outcome.userfield.split(":", 3)
        say(f"{'ALLOWED' if verdict == 'allow' else 'BLOCKED'}, because: {reason}")
        if verdict == "block":
            say(f"the agent hears ({outcome.agent_heard().seconds:.1f} s): {_prompt(reason)}")
            say(f"and then SIP {outcome.sip_code}")
        say(f"INVITEs that reached the telephone network: {len(sent)}" + "".join(f" ({number})" for number in sent))
        if f"{verdict} {reason}" != expect or sent != invites:
            raise NotAsItShould(f"call {self.calls} should have been {expect} with the INVITEs {invites}")
        return outcome

    def conversation(self) -> None:
        """A call with everything: the agent makes the offer, the consumer hears the notice and chooses."""
        self._begin("A number that may be called: dialled as the verdict hands it out", FREE, CAMPAIGN)
        before = len(self.lab.invites_from_trunk())
        call = self.lab.place(FREE, campaign=CAMPAIGN, agent="agent-17", language="nl", hold_s=None)
        call.wait_until_answered()
        if self.lab.invites_from_trunk()[before:] != [FREE_E164]:
            raise NotAsItShould(f"{FREE} should have been dialled as {FREE_E164}")
        say(f"ALLOWED, because: not_registered; INVITE for {FREE_E164}; the two talk")
        time.sleep(REACTION_S)
        call.agent_presses("*70")
        event = call.wait_for_user_event("BmnChoice")
        say(f"the agent points at the register, and logs it with *70: {event['Result']}")
        call.wait_for_return("bmn-key")
        call.hang_up()
        call.wait_for_prompt("notice-")
        say("the agent hangs up; the consumer hears the notice")
        for prompt, key, meaning in ANSWERS:
            call.wait_for_prompt(prompt, timeout_s=60.0)
            time.sleep(LISTEN_S)
            call.consumer_presses(key)
            say(f"asked {prompt}, he presses {key}: {meaning}")
        call.wait_for_prompt("chosen-correct", timeout_s=60.0)
        say("it is read back to him, and he hangs up")
        call.consumer_hangs_up()
        call.outcome()
        call.wait_until_consumer_is_free()
        told = call.wait_for_user_event("BmnChoice", nth=2)
        say(f"notice: {told['Notice']}; choice: {told['Choice']}")
        heard = self.lab.consumer_heard(FREE_E164)
        say(f"the consumer's phone recorded {heard.seconds:.1f} s, loudness {heard.loudness:.0f}")
        if (told["Notice"], told["Choice"]) != ("heard", "register_without_charities") or heard.loudness < 200:
            raise NotAsItShould("the notice should have been heard, and the register without charities chosen")

    def _begin(self, title: str, dialled: str, campaign: str) -> None:
        self.calls += 1
        print(f"\n{self.calls}. {title}")
        say(f"agent-17 dials {dialled} for campaign {campaign}")

    def bmn(self, *arguments: str) -> None:
        """Run a command of the product and show it with what it prints."""
        print(f"\n$ bmn {' '.join(arguments)}")
        print(bmn(*arguments, environment=self.environment).stdout.rstrip())


def say(text: str) -> None:
    """One line about the call at hand."""
    print(f"   {text}", flush=True)


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Redis, the agent, the call centre's Asterisk and the telephone network; all stopped at the end."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        print("\nStarting", flush=True)
        redis = stack.enter_context(PrivateRedis(folder, DEPLOY / "redis.conf"))
        say("Redis, on a socket of its own")
        port = _free_port()
        config = folder / "bmn.toml"
        config.write_text((DEPLOY / "sample/bmn.toml").read_text())
        sounds = folder / "sounds"
        build = DEPLOY.parent / "dialplan/sounds/build"
        subprocess.run([build, "--sellers", config, "--out", sounds], check=True, capture_output=True)
        say("the prompts, with the names of the sellers in them")
        environment = {
            "BMN_SOUNDS__PATH": str(sounds),
            "BMN_CONFIG": str(config),
            "BMN_REDIS_URL": redis.url,
            "BMN_AGI_LISTEN": f"127.0.0.1:{port}",
        }
        agent = stack.enter_context(AgentService(folder, environment))
        say(f"the agent: bmn serve, FastAGI on 127.0.0.1:{port}")
        lab = stack.enter_context(Lab(folder / "lab", agi=f"agi://127.0.0.1:{port}", sounds=[sounds]))
        say("the call centre's Asterisk with our dialplan, and an Asterisk as the telephone network")
        say(f"all in {time.monotonic() - began:.1f} s")
        yield Stage(lab=lab, agent=agent, environment=environment)


def show(on: Stage) -> None:
    """The story. Raises ``NotAsItShould`` when it does not go as it should."""
    print("\nThe do-not-call register is loaded")
    on.bmn("register", "import", str(DEPLOY / "sample/register.csv"), "--as-of", str(date.today()))
    on.call("A number in the register: not dialled", REGISTERED, expect="block registered", invites=[])
    on.conversation()
    on.call("The same number again: blocked from this moment on", FREE, expect="block registered", invites=[])
    on.call(
        "But for a charity, which he did not block: dialled",
        FREE,
        expect="allow not_registered",
        invites=[FREE_E164],
        campaign=CHARITY,
    )
    print("\nAnother consumer writes: not by this company any more")
    on.bmn("optout", "add", OPTED_OUT, "--seller", "zonnig", "--source", "letter")
    on.call("A number that opted out", OPTED_OUT, expect="block seller_optout", invites=[])
    print("\nThe agent is stopped, as if it had crashed")
    on.agent.kill()
    on.call("Nothing is dialled unscreened", "0687651234", expect="block agent_unreachable", invites=[])
    on.call("But 112 always goes through", "112", expect="allow emergency_number", invites=["112"])
    on.agent.start()
    print("\nWhat was recorded of it")
    on.bmn("log")
    on.bmn("registrations", "status")
    on.bmn("register", "status")
    on.bmn("journal", "verify")


def keep(on: Stage) -> None:
    """Wait for Ctrl-C, having said how to look around."""
    settings = " ".join(f"{name}={value}" for name, value in on.environment.items())
    pbx = on.lab.pbx
    print(f"\nStill running. In another terminal:\n  export {settings}\n  .venv/bin/bmn log --follow")
    print(f"The call centre's Asterisk has its files in {pbx.directory}\nCtrl-C ends it all.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def main() -> int:
    """Run the demo; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix="bmn-demo-") as name, stage(Path(name)) as on:
            show(on)
            print("\nAll of it went as it should.")
            if "--keep" in sys.argv[1:]:
                keep(on)
    except NotAsItShould as error:
        print(f"\nNot as it should be: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; everything is stopped.", file=sys.stderr)
        return 130
    return 0


def _prompt(reason: str) -> str:
    """The Dutch text of what an agent hears."""
    prompts = tomllib.loads((DEPLOY.parent / "dialplan/sounds/prompts.toml").read_text())["prompts"]
    text: str = prompts["blocked-" + reason.replace("_", "-")]["nl"]
    return text


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    sys.exit(main())
