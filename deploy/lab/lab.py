"""The lab: a call centre's PBX, and a second Asterisk as everything around it."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from .audio import Recording, read_recording, write_tone
from .build import AsteriskBuild
from .calls import Call, CallOutcome
from .errors import LabError
from .instance import HERE, LOOPBACK, AsteriskInstance, free_port
from .phones import Phone
from .sip_history import SipHistory

PRODUCT_DIALPLAN = HERE.parents[1] / "dialplan"
AGENT_TONE_HZ = 440.0
CONSUMER_TONE_HZ = 1000.0
INCLUDED_PHONE = "phone-included"
INCLUDED_CAMPAIGN = "lab-campaign"
VERDICT_VARIABLES = ("BMN_VERDICT", "BMN_REASON", "BMN_NUMBER", "BMN_CALL", "BMN_NOTICE")
CHANNEL_VARIABLES = (*VERDICT_VARIABLES, "AGISTATUS", "DIALSTATUS")

Behaviour = Literal["answer", "busy", "reject", "no_answer", "unknown", "redirect"]


class Lab:
    """Two Asterisks on loopback: `pbx` runs the product, `network` is the rest.

    An agent's phone (on `network`) sends a real INVITE to `pbx`; what `pbx` may dial
    goes out by a second real INVITE to `network`, where the consumer answers. Use it
    as a context manager; whatever was started is stopped, also when setting up fails.
    """

    def __init__(
        self,
        directory: Path,
        *,
        agi: str = "agi://127.0.0.1:4573",
        site_globals: Mapping[str, str] | None = None,
        dialplan: Path = PRODUCT_DIALPLAN,
        sounds: Sequence[Path] | None = None,
        codecs: str = "ulaw,alaw",
        channel_variables: Sequence[str] = CHANNEL_VARIABLES,
        build: AsteriskBuild | None = None,
    ) -> None:
        """Write both configurations under a fresh directory; nothing runs yet.

        `agi` is BMN_AGI; `site_globals` come after it and after our own defaults.
        `sounds` are folders of prompts, each with one folder per language.
        """
        build = build or AsteriskBuild.find()
        built = dialplan / "sounds" / "audio"
        lab_sounds = directory / "sounds"
        self._write_voices(lab_sounds)
        pbx_port, network_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
        self.pbx_address = f"{LOOPBACK}:{pbx_port}"
        """Where the call centre takes SIP."""
        self._calls = itertools.count(1)
        settings = {
            "BMN_AGI": agi,
            "BMN_DIAL_PREFIX": "PJSIP/",
            "BMN_DIAL_SUFFIX": "@network-trunk",
            **(site_globals or {}),
        }
        common = {
            "codecs": codecs,
            "channel_variables": ",".join(channel_variables),
            "hold_music": str(lab_sounds.resolve() / "en/lab/consumer"),
        }
        self.pbx = AsteriskInstance(
            directory / "pbx",
            name="pbx",
            build=build,
            configuration=HERE / "etc/pbx",
            sounds=[path for path in (built,) if path.is_dir()] if sounds is None else sounds,
            values={
                **common,
                "sip_port": str(pbx_port),
                "far_sip_port": str(network_port),
                "dialplan": str(dialplan.resolve()),
                "globals": "\n".join(f"{name} = {value}" for name, value in settings.items()),
                "included_phone": INCLUDED_PHONE,
                "included_campaign": INCLUDED_CAMPAIGN,
            },
        )
        self.network = AsteriskInstance(
            directory / "network",
            name="network",
            build=build,
            configuration=HERE / "etc/network",
            sounds=[lab_sounds],
            values={**common, "sip_port": str(network_port), "consumer_voice": "lab/consumer"},
        )

    def __enter__(self) -> Lab:
        """Start both; return when both are ready for calls."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop both."""
        self.stop()

    def start(self) -> None:
        """Start both instances side by side; LabError when one does not come up."""
        with ThreadPoolExecutor(2) as pool:
            for started in [pool.submit(self.pbx.start), pool.submit(self.network.start)]:
                started.result()
        self._sip_history = SipHistory(self.network)

    def stop(self) -> None:
        """Stop both instances; may be called twice."""
        with ThreadPoolExecutor(2) as pool:
            for stopped in [pool.submit(self.pbx.stop), pool.submit(self.network.stop)]:
                stopped.result()

    def consumer(
        self,
        number: str,
        behaviour: Behaviour = "answer",
        *,
        ring_s: float = 0,
        talk_s: float | None = None,
    ) -> None:
        """Set what the phone of this number (as the trunk calls it) does from now on.

        `talk_s`: the consumer hangs up that long after answering; None: never.
        """
        database = self.network.ami
        for family, value in (
            ("lab-consumer", behaviour),
            ("lab-ring", f"{ring_s:g}"),
            ("lab-talk", f"{talk_s or 0:g}"),
        ):
            database.action("DBPut", Family=family, Key=number, Val=value)

    def place(
        self,
        dialled: str,
        *,
        campaign: str | None = None,
        agent: str | None = None,
        language: str | None = None,
        settings: Mapping[str, str] | None = None,
        hold_s: float | None = 1.0,
        says: str = "lab/agent",
        caller: str = "agent",
        ring_limit_s: float = 60.0,
        replaces: Phone | None = None,
    ) -> Call:
        """An agent's phone dials; returns at once.

        `settings` are set on the agent's leg at the call centre, variables and
        writable functions alike, after campaign, agent and language. `hold_s` is when
        the agent hangs up, counted from the answer; None: only when told to. `caller`
        is the phone's user: INCLUDED_PHONE is the one that takes no settings. With
        `replaces` the phone takes the place of that one in its call.
        """
        if not dialled:
            raise LabError("nothing dialled: SIP knows no such call")
        call = f"lab-{next(self._calls)}"
        named = {"BMN_CAMPAIGN": campaign, "BMN_AGENT": agent, "CHANNEL(language)": language}
        chosen = {name: value for name, value in named.items() if value is not None}
        chosen.update(settings or {})
        encoded = "&".join(f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in chosen.items())
        placed = Call(
            call,
            dialled,
            pbx=self.pbx,
            network=self.network,
            pbx_address=self.pbx_address,
            pbx_mark=self.pbx.ami.mark(),
            network_mark=self.network.ami.mark(),
        )
        # Asterisk undoes one encoding when it reads the address, and does not redo a `%`.
        user = quote(dialled.replace("%", "%25"), safe="")
        variables = {
            "LAB_CALL": call,
            "LAB_CALLER": caller,
            "LAB_ADDRESS": f"PJSIP/agent-phone/sip:{user}@{self.pbx_address}",
            "LAB_SETTINGS": encoded,
            "LAB_SAYS": says,
            "LAB_HOLD": f"{hold_s or 0:g}",
            "LAB_RING_LIMIT": f"{ring_limit_s:g}",
            "LAB_REPLACES": replaces.dialog if replaces else "",
        }
        self.network.ami.action(
            "Originate",
            *(("Variable", f"{name}={value}") for name, value in variables.items()),
            Channel="Local/s@agent-phone/n",
            ChannelId=call,
            OtherChannelId=f"{call}-line",
            Context="agent-talks",
            Exten="s",
            Priority="1",
            Timeout=str(int(ring_limit_s * 1000) + 5000),
            Async="true",
        )
        return placed

    def call(
        self,
        dialled: str,
        *,
        campaign: str | None = None,
        agent: str | None = None,
        language: str | None = None,
        settings: Mapping[str, str] | None = None,
        hold_s: float = 1.0,
        says: str = "lab/agent",
        caller: str = "agent",
        timeout_s: float = 30.0,
    ) -> CallOutcome:
        """Place a call and wait until it is over; see `place`."""
        placed = self.place(
            dialled,
            campaign=campaign,
            agent=agent,
            language=language,
            settings=settings,
            hold_s=hold_s,
            says=says,
            caller=caller,
        )
        return placed.outcome(timeout_s)

    def send_text(self, number: str, text: str = "hello", *, caller: str = "agent") -> None:
        """An agent's phone sends a text to a number (SIP MESSAGE); AmiError when it cannot. `caller`: see `place`."""
        address = f"pjsip:agent-phone/sip:{quote(number, safe='')}@{self.pbx_address}"
        self.network.ami.action("MessageSend", To=address, From=f"<sip:{caller}@{LOOPBACK}>", Body=text)

    def phone(self, number: str, since: int, timeout_s: float = 5.0) -> Phone:
        """The phone of this number that has answered since that mark of the network's events, now or soon."""
        event = self.network.ami.wait_for(
            lambda event: event.name == "LabConsumerAnswered" and event.get("Number") == number,
            timeout_s,
            since=since,
            what=f"the answer of {number}",
        )
        return Phone(self.network, event["Channel"], pbx_address=self.pbx_address, since=since)

    def invites_from_trunk(self) -> list[str]:
        """The numbers for which the trunk received an INVITE, ever, in order.

        Read from SIP itself, once per INVITE however often it was repeated. Empty
        means none: a probe by the same way has arrived after all that was sent.
        """
        self._sip_history.catch_up(self.pbx, "network-trunk")
        return [one.user for one in self._sip_history.received("INVITE") if not one.in_dialog]

    def consumer_heard(self, number: str, timeout_s: float = 5.0) -> Recording:
        """What this consumer heard in the last call; LabError when there was no audio."""
        return read_recording(self.network.recordings / f"consumer-{number}.wav", timeout_s)

    @staticmethod
    def _write_voices(sounds: Path) -> None:
        voices = sounds / "en" / "lab"
        voices.mkdir(parents=True)
        write_tone(voices / "agent.wav", AGENT_TONE_HZ, 10)
        write_tone(voices / "consumer.wav", CONSUMER_TONE_HZ, 10)
