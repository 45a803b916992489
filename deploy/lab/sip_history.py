"""What really arrived by SIP, read from Asterisk's own history of SIP messages.

The history is kept below the dialplan and the channels: a request that arrived is
in it whatever became of it.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from urllib.parse import unquote

from .errors import LabError
from .instance import AsteriskInstance

# 00003 1763929000 * <== 127.0.0.1:5060    INVITE sip:+31612345678@127.0.0.1:5080 SIP/2.0
ENTRY_LINE = re.compile(r"^\d+\s+\S+\s+\* (?:<==|==>) ")
RECEIVED_LINE = re.compile(r"^\d+\s+\S+\s+\* <== \S+\s+(?P<method>[A-Z]+) sips?:(?:(?P<user>[^@\s]*)@)?")
HEADER_LINE = re.compile(r"^(Call-ID|i|CSeq|To|t)\s*:\s*(.*?)\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SipRequest:
    """A request that this instance received."""

    method: str
    user: str
    call_id: str
    cseq: str
    in_dialog: bool


class SipHistory:
    """The requests that an instance received since its history was switched on."""

    def __init__(self, instance: AsteriskInstance) -> None:
        """Switch the history on."""
        self._instance = instance
        self._requests: dict[int, SipRequest] = {}
        instance.command("pjsip set history on")

    def received(self, method: str) -> list[SipRequest]:
        """The requests of this method, in order; a retransmission is not a second one."""
        distinct: dict[tuple[str, str], SipRequest] = {}
        shown = self._instance.command("pjsip show history").splitlines()
        # Entries are asked for by their place. The number that is shown is another one when two threads received
        # something at the same moment.
        for place, line in enumerate(line for line in shown if ENTRY_LINE.match(line)):
            found = RECEIVED_LINE.match(line)
            if found is None or found["method"] != method:
                continue
            request = self._read(place, method, unquote(found["user"] or ""))
            distinct.setdefault((request.call_id, request.cseq), request)
        return list(distinct.values())

    def catch_up(self, sender: AsteriskInstance, endpoint: str, timeout_s: float = 5.0) -> None:
        """Return when all that the sender sent so far has been received.

        Has the sender send an OPTIONS by the same way and waits for it to show up
        here: what was sent before it has then arrived, and the history works.
        """
        before = len(self.received("OPTIONS"))
        sender.ami.action("PJSIPQualify", Endpoint=endpoint)
        deadline = time.monotonic() + timeout_s
        while len(self.received("OPTIONS")) == before:
            if time.monotonic() >= deadline:
                raise LabError(f"no OPTIONS from {sender.name} in the SIP history in {timeout_s} s")

    def _read(self, place: int, method: str, user: str) -> SipRequest:
        if place not in self._requests:
            text = self._instance.command(f"pjsip show history entry {place}")
            headers = {name.lower(): value for name, value in HEADER_LINE.findall(text)}
            self._requests[place] = SipRequest(
                method=method,
                user=user,
                call_id=headers.get("call-id") or headers["i"],
                cseq=headers["cseq"],
                in_dialog=";tag=" in (headers.get("to") or headers["t"]),
            )
        return self._requests[place]
