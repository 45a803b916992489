"""A consumer's phone that does by SIP what an Asterisk would not: hold with ``inactive``, or send no sound at all.

It answers one call at once, counts the RTP packets that arrive, and does only what is asked of it besides.
"""

from __future__ import annotations

import secrets
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from .errors import LabError
from .instance import LOOPBACK

Direction = Literal["sendrecv", "sendonly", "inactive"]
_PATIENCE_S = 5.0
_FRAME_S = 0.02
_SILENCE = b"\xff" * 160
"""20 ms of G.711 µ-law."""


class SipPhone:
    """A phone on loopback; use it as a context manager."""

    def __init__(self, *, silent: bool = False) -> None:
        """``silent``: it sends no RTP, as a dead line, or one that suppresses silence."""
        self._sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for sock in (self._sip, self._rtp):
            sock.bind((LOOPBACK, 0))
        self._silent = silent
        self._tag, self._cseq, self._direction = secrets.token_hex(4), 0, "sendrecv"
        self._version = 1
        self._invite: dict[str, str] = {}
        self._far_sip = self._far_rtp = (LOOPBACK, 0)
        self._answers: dict[str, str] = {}
        self._changed = threading.Condition()
        self._over = False
        self._ending = threading.Event()
        self.received = 0
        """RTP packets that arrived so far."""
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._talk, self._listen, self._speak)]

    @property
    def dial_settings(self) -> dict[str, str]:
        """What has the product's dialplan call this phone, whatever the number."""
        suffix = f"@{LOOPBACK}:{self._sip.getsockname()[1]}"
        return {"BMN_DIAL_PREFIX": "PJSIP/network-trunk/sip:", "BMN_DIAL_SUFFIX": suffix}

    def __enter__(self) -> Self:
        """Be ready for a call."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        for sock in (self._sip, self._rtp):
            sock.sendto(b"", sock.getsockname())  # ends its thread's wait
        for thread in self._threads:
            thread.join()
        self._sip.close()
        self._rtp.close()

    def hold(self, direction: Direction) -> None:
        """Put the far end on hold by a re-INVITE, or with ``sendrecv`` take it off; returns when that is agreed."""
        self._direction, self._version = direction, self._version + 1
        self._request("INVITE", self._sdp())
        self._send(self._line("ACK", self._cseq))

    def hang_up(self) -> None:
        """Send a BYE; returns when it is answered."""
        self._request("BYE")
        self._end()

    def wait_until_over(self, timeout_s: float = 20.0) -> None:
        """Return when the call is over. Raises ``LabError`` when it is not in time."""
        self._await(lambda: self._over, "the end of the call", timeout_s)

    # --- SIP

    def _talk(self) -> None:
        while not self._ending.is_set():
            data, address = self._sip.recvfrom(65_536)
            head, _, body = data.decode().partition("\r\n\r\n")
            first, *lines = head.split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            if first.startswith("SIP/2.0"):
                self._take_answer(first.split()[1], headers)
            elif first and not first.startswith("ACK"):
                self._answer(first.split()[0], headers, body, address)

    def _answer(self, method: str, headers: dict[str, str], body: str, address: tuple[str, int]) -> None:
        if method == "INVITE" and not self._invite:
            self._invite, self._far_sip = headers, address
        if "m=audio" in body:
            port = next(line.split()[1] for line in body.splitlines() if line.startswith("m=audio"))
            self._far_rtp = (LOOPBACK, int(port))
        to = headers["to"] if ";tag=" in headers["to"] else f"{headers['to']};tag={self._tag}"
        lines = ["SIP/2.0 200 OK", f"Via: {headers['via']}", f"From: {headers['from']}", f"To: {to}"]
        lines += [f"Call-ID: {headers['call-id']}", f"CSeq: {headers['cseq']}", f"Contact: {self._contact}"]
        self._send(lines, self._sdp() if method == "INVITE" else "")
        if method == "BYE":
            self._end()

    def _take_answer(self, status: str, headers: dict[str, str]) -> None:
        with self._changed:
            self._answers[headers["cseq"]] = status
            self._changed.notify_all()

    def _request(self, method: str, body: str = "") -> None:
        self._cseq += 1
        name = f"{self._cseq} {method}"
        self._send(self._line(method, self._cseq), body)
        self._await(lambda: self._answers.get(name, "1") >= "2", f"an answer to {method}", _PATIENCE_S)
        if self._answers[name] != "200":
            raise LabError(f"{method} was answered with {self._answers[name]}")

    def _line(self, method: str, cseq: int) -> list[str]:
        """A request in the call that was answered: its line and headers."""
        invite, target = self._invite, self._invite["contact"].strip("<>")
        branch = f"z9hG4bK{secrets.token_hex(8)}"
        return [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {LOOPBACK}:{self._sip.getsockname()[1]};branch={branch}",
            f"From: {invite['to']};tag={self._tag}",
            f"To: {invite['from']}",
            f"Call-ID: {invite['call-id']}",
            f"CSeq: {cseq} {method}",
            f"Contact: {self._contact}",
            "Max-Forwards: 70",
        ]

    def _send(self, lines: list[str], body: str = "") -> None:
        kind = ["Content-Type: application/sdp"] if body else []
        text = "\r\n".join([*lines, *kind, f"Content-Length: {len(body)}", "", body])
        self._sip.sendto(text.encode(), self._far_sip)

    @property
    def _contact(self) -> str:
        return f"<sip:phone@{LOOPBACK}:{self._sip.getsockname()[1]}>"

    def _sdp(self) -> str:
        lines = ["v=0", f"o=- 1 {self._version} IN IP4 {LOOPBACK}", "s=-", f"c=IN IP4 {LOOPBACK}", "t=0 0"]
        lines += [f"m=audio {self._rtp.getsockname()[1]} RTP/AVP 0 101", "a=rtpmap:0 PCMU/8000"]
        lines += ["a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", f"a={self._direction}"]
        return "".join(f"{line}\r\n" for line in lines)

    def _end(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _await(self, wanted: Callable[[], bool], what: str, timeout_s: float) -> None:
        with self._changed:
            if not self._changed.wait_for(wanted, timeout_s):
                raise LabError(f"{what}: not in {timeout_s} s")

    # --- RTP

    def _listen(self) -> None:
        while not self._ending.is_set():
            if len(self._rtp.recv(2_048)) > 12:
                self.received += 1

    def _speak(self) -> None:
        source, sequence = secrets.randbits(32), 0
        while not self._ending.wait(_FRAME_S):
            if self._silent or self._over or self._direction == "inactive" or not self._far_rtp[1]:
                continue
            sequence += 1
            header = struct.pack("!BBHII", 0x80, 0, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, source)
            self._rtp.sendto(header + _SILENCE, self._far_rtp)
