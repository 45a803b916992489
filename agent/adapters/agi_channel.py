"""The one door to pyst2: one AGI session with Asterisk, bounded in time and size.

Where this departs from pyst2 0.5.1 (``asterisk.agi.AGI``), and why:

* ``__init__`` does not call pyst2's: that installs a SIGHUP handler (impossible off the main thread), writes
  ``sys.argv`` to stderr and reads without a time limit. Here a transport is given and ``read_request`` reads.
* Nothing goes to stderr. pyst2 pretty-prints every line, numbers included: a privacy leak, and half the throughput.
* Bytes are read from a socket or from file descriptors, against a monotonic deadline for the whole exchange;
  pyst2 wants a text file, waits for ever, and after ``520`` and end of file loops for ever.
* ``_quote`` and ``execute`` refuse what is not on a white list. pyst2 escapes nothing: a newline starts a second
  command, a quote ends the argument.
* ``100 Trying``, an unsolicited ``HANGUP`` and 511 are understood; end of file is ``AgiHangup``, not ``ValueError``.
* ``result=-1`` raises nothing; it is ``AgiReply.minus_one``, and each method says what it means there.
* ``test_hangup`` raises nothing: a hung-up channel still takes variables, and the verdict of such a call counts.
* ``stream_file`` keeps ``endpos``; ``wait_for_digit`` tells silence from a hang-up, ``get_variable`` unset from empty.
* ``set_variables`` and ``read_functions`` are new: several in one command, so one round trip.

The commands that are only inherited (``answer``, ``hangup``, ``say_digits`` and so on) run through ``execute`` below.
``SET VARIABLE ARRAY(A,B) "x,"`` sets B to empty, wherever the empty value stands (Asterisk 22, func_strings.c,
``array``); parentheses, brackets, quotes and backslashes in a value would move the commas (main/app.c,
``__ast_app_separate_args``), hence they are off the list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from time import monotonic

from asterisk.agi import AGI

from agent.adapters.agi_transport import PATIENCE_S, Transport
from agent.adapters.agi_values import (
    AgiChannelDead,
    AgiHangup,
    AgiProtocolError,
    AgiRefused,
    AgiReply,
    AgiRequest,
    AgiTimeout,
    PlayResult,
    UnsafeAgiValue,
)

MAX_LINE_BYTES = 8192
MAX_ENVIRONMENT_LINES = 200
MAX_ENVIRONMENT_BYTES = 65_536
"""Asterisk sends about 1 KB."""
MAX_COMMAND_BYTES = 2000
"""Older Asterisk releases read commands into 2 KB."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
_READABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}(\([A-Za-z0-9_,.:-]*\))?")
_VALUE = re.compile(r"[A-Za-z0-9 _.:@/+*#=-]*")
_ARGUMENT = re.compile(r'"[A-Za-z0-9 _.,:;@/+*#=!?()%-]*"|[A-Za-z0-9_.,:;@/+*#=!?()%-]*')
_SOUND = re.compile(r"[A-Za-z0-9_/.-]+")
_COMMAND = re.compile(r"[A-Za-z ]+")
_LANGUAGE = re.compile(r"[a-z]{2}(_[A-Z]{2})?")
_KEYS = re.compile(r"[0-9*#A-D]*")
_KEY_CODE = re.compile(r"[0-9]{1,2}")
_CHANNEL_ANSWERS_S = 5.0
_REPLY = re.compile(r"200 result=(?P<result>[^ ]*)(?: \((?P<data>.*)\))?(?: endpos=(?P<endpos>[0-9]{1,15}))?")


_CALLER = "agi_callerid"
_AFTER_CALLER = frozenset(
    f"agi_{name}"
    for name in (
        *("calleridname", "callingpres", "callingani2", "callington", "callingtns", "dnid", "rdnis"),
        *("context", "extension", "priority", "enhanced", "accountcode", "threadid"),
    )
)
"""What Asterisk sends after it, whatever it has to say of the call (``setup_env`` in its res_agi.c)."""
_HANGUP = b"HANGUP\n"
_OK = AgiReply(code=200, result="1")


class AgiChannel(AGI):  # type: ignore[misc]  # pyst2 ships no types
    """One AGI session: first ``read_request``, then commands, each sent and answered before the next.

    ``timeout_ms`` bounds reading the environment, and each exchange of a command and its answer, as a whole.
    ``stalled`` is asked once, when the peer first keeps us waiting for more than ``PATIENCE_S``: it may start another
    worker; when it returns False, the wait ends with ``AgiTimeout``.
    After a time-out or a protocol error the session is out of step, and every further command is refused; after its end
    every further command is ``AgiHangup``. ``received`` is what was read of the session already.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        timeout_ms: float = 1000,
        stalled: Callable[[], bool] | None = None,
        received: bytes = b"",
    ) -> None:
        self.env: dict[str, str] = {}
        self.hung_up = False
        """The channel is gone; variables can still be set."""
        self.ended = False
        """We have ended the session: what Asterisk was to get it has."""
        self.commands_sent = 0
        """Commands that have left whole."""
        self._transport = transport
        self._timeout_s = timeout_ms / 1000
        self.stalled = stalled
        self._in_step = True
        self.gone = False
        """The session is over, whoever ended it: no command is answered any more."""
        self._buffer = received

    def end(self) -> None:
        """Let Asterisk go on with the call: the session is over, and the channel takes no more commands."""
        self.ended = self.gone = True
        self._transport.end()

    def read_request(self) -> AgiRequest:
        """Read and parse the environment, up to its blank line."""
        began = monotonic()
        until = began + self._timeout_s
        self._in_step = False
        while (end := environment_end(self._buffer)) < 0:
            self._fill(began, until)
        pairs = [line.split(": ", 1) for line in self._buffer[:end].decode("utf-8", "replace").split("\n")]
        self._buffer = self._buffer[end + 2 :]
        if len(pairs) > MAX_ENVIRONMENT_LINES or (end > MAX_LINE_BYTES and _longest(pairs) > MAX_LINE_BYTES):
            raise AgiProtocolError("the environment is too large")
        try:
            env = dict(pairs)
        except ValueError as error:
            raise AgiProtocolError("the environment has a line without a name") from error
        # A newline inside a caller's name would bring its own lines: then a name comes twice.
        if len(env) != len(pairs):
            raise AgiProtocolError("the environment names something twice")
        # A blank line in there would end the environment before Asterisk does, with lines of its own.
        if _CALLER in env and not env.keys() >= _AFTER_CALLER:
            raise AgiProtocolError("the environment ends before its end")
        self.env = env
        self._in_step = True
        return _request(env)

    def set_variables(self, values: Mapping[str, str]) -> None:
        """Set channel variables in one command; an empty value sets the variable to empty."""
        if not values:
            return
        for name, value in values.items():
            if not _NAME.fullmatch(name):
                raise UnsafeAgiValue("a variable's name has a character that is not allowed")
            if not _VALUE.fullmatch(value):
                raise UnsafeAgiValue(f"the value of {name} has a character that is not allowed")
        reply = self._exchange(f'SET VARIABLE ARRAY({",".join(values)}) "{",".join(values.values())}"\n')
        if reply.result != "1":
            raise AgiProtocolError("Asterisk did not confirm the variables")

    def get_variable(self, name: str) -> str | None:
        """The value of a variable or function of the channel: None when it is not set, ``""`` when it is empty."""
        if not _READABLE_NAME.fullmatch(name):
            raise UnsafeAgiValue("a variable's name has a character that is not allowed")
        reply = self._exchange(f"GET VARIABLE {name}\n")
        return (reply.data or "") if reply.result == "1" else None

    def read_functions(self, *names: str) -> tuple[str, ...]:
        """The values of several functions of the channel in one command; ``""`` for what it does not know.

        For values without a slash, such as numbers: else the answer is empty. The channel's own thread answers, which
        may take its time.
        """
        if not all(map(_READABLE_NAME.fullmatch, names)):
            raise UnsafeAgiValue("a function's name has a character that is not allowed")
        expression = "/".join(f"${{{name}}}" for name in names)
        reply = self._exchange(f'GET FULL VARIABLE "{expression}"\n', max(self._timeout_s, _CHANNEL_ANSWERS_S))
        values = tuple((reply.data or "").split("/"))
        return values if len(values) == len(names) else ()

    def verbose(self, message: str, level: int = 1) -> None:
        """Write ``message`` to Asterisk's console and log. Never a number in full."""
        self._exchange(f"VERBOSE {self._quote(message)} {int(level)}\n")

    def noop(self) -> None:
        """Ask nothing: shows that the session still stands."""
        self._exchange("NOOP\n")

    def look(self) -> None:
        """Raise ``AgiHangup`` when Asterisk has ended the session or announced a hang-up; sends nothing.

        What else has come unasked is left where it is, and breaks the next command.
        """
        if self.gone:
            raise AgiHangup("Asterisk has ended the session")
        try:
            while len(self._buffer) <= MAX_LINE_BYTES and (chunk := self._transport.glance()) is not None:
                if not chunk:
                    raise AgiHangup("Asterisk ended the session")
                self._buffer += chunk
        except AgiHangup:
            self.gone = True
            raise
        while self._buffer.startswith(_HANGUP):
            self._buffer = self._buffer[len(_HANGUP) :]
            self.hung_up = True
        if self.hung_up:
            raise AgiHangup("the channel hung up")

    def ask(self) -> None:
        """Raise ``AgiError`` unless Asterisk answers that the channel is there, and not dead: one round trip.

        A dead channel still takes NOOP, but never CHANNEL STATUS (res_agi.c, ``commands``).
        """
        reply = self._exchange("CHANNEL STATUS\n")
        if self.hung_up or reply.minus_one:
            raise AgiHangup("the channel hung up")

    def stream_file(
        self, name: str, escape_digits: str = "", offset_samples: int = 0, *, limit_ms: float = 120_000
    ) -> PlayResult:
        """Play a prompt (path without extension), from an offset until its end or one of ``escape_digits``.

        ``limit_ms`` bounds the wait for Asterisk's answer. A missing file also leaves AGISTATUS at FAILURE.
        """
        _check_prompt(name, escape_digits)
        offset = f" {int(offset_samples)}" if offset_samples else ""
        reply = self._exchange(f'STREAM FILE {name} "{escape_digits}"{offset}\n', limit_ms / 1000)
        digit = None if reply.minus_one else _key(reply.result)
        return PlayResult(digit, reply.endpos_samples or 0, reply.minus_one)

    def wait_for_digit(self, timeout_ms: int) -> str | None:
        """The next key; None when none came in ``timeout_ms``. Raises ``AgiHangup`` when the channel hung up."""
        reply = self._exchange(f"WAIT FOR DIGIT {int(timeout_ms)}\n", timeout_ms / 1000 + self._timeout_s)
        if reply.minus_one:
            raise AgiHangup("the channel hung up")
        return _key(reply.result)

    def set_language(self, language: str) -> None:
        """Choose the language of the prompts from now on."""
        if not _LANGUAGE.fullmatch(language):
            raise UnsafeAgiValue("a language has a character that is not allowed")
        self._exchange(f'SET VARIABLE CHANNEL(language) "{language}"\n')

    def execute(self, command: str, *args: object) -> dict[str, tuple[str, str]]:
        """Run any command, for what is only inherited from pyst2; the answer in pyst2's form."""
        words = [str(arg) for arg in args]
        if not _COMMAND.fullmatch(command) or not all(map(_ARGUMENT.fullmatch, words)):
            raise UnsafeAgiValue("an argument has a character that is not allowed")
        reply = self._exchange(" ".join([command, *words]).rstrip(" ") + "\n")
        return {"result": (reply.result, reply.data or ""), "endpos": (str(reply.endpos_samples or 0), "")}

    def test_hangup(self) -> None:
        """Nothing: see the module's header."""

    def _quote(self, string: object) -> str:
        quoted = f'"{string}"'
        if not _ARGUMENT.fullmatch(quoted):
            raise UnsafeAgiValue("an argument has a character that is not allowed")
        return quoted

    def _exchange(self, line: str, timeout_s: float | None = None) -> AgiReply:
        """Send one command and read its answer; only a 200 is returned."""
        if self.gone:
            raise AgiHangup("Asterisk has ended the session")
        if not self._in_step:
            raise AgiProtocolError("the session is out of step")
        if len(line) > MAX_COMMAND_BYTES:
            raise UnsafeAgiValue("the command is too long")
        began = monotonic()
        until = began + (self._timeout_s if timeout_s is None else timeout_s)
        self._in_step = False
        try:
            self._transport.send(line.encode("ascii"), until)
            self.commands_sent += 1
            reply = self._read_reply(began, until)
        except AgiHangup:
            self.gone = True
            raise
        self._in_step = True
        if reply.code == 511:
            raise AgiChannelDead("the channel is dead")
        if reply.code != 200:
            raise AgiRefused(f"Asterisk refused the command ({reply.code})")
        return reply

    def _read_reply(self, began: float, until: float) -> AgiReply:
        for _ in range(MAX_ENVIRONMENT_LINES):
            line = self._read_line(began, until)
            if line == b"200 result=1":
                return _OK
            if line == b"HANGUP":
                self.hung_up = True
            elif line.startswith(b"520-"):
                self._skip_usage(began, until)
                return AgiReply(code=520)
            elif line[:4] in (b"510 ", b"511 ", b"520 "):
                return AgiReply(code=int(line[:3]))
            elif match := _REPLY.fullmatch(line.decode("utf-8", "replace")):
                endpos = match["endpos"]
                return AgiReply(
                    code=200,
                    result=match["result"],
                    data=match["data"],
                    endpos_samples=None if endpos is None else int(endpos),
                )
            elif not line.startswith(b"100 "):
                raise AgiProtocolError("a line came that is no answer")
        raise AgiProtocolError("too many lines came that are no answer")

    def _skip_usage(self, began: float, until: float) -> None:
        for _ in range(MAX_ENVIRONMENT_LINES):
            if self._read_line(began, until).startswith(b"520 "):
                return
        raise AgiProtocolError("an explanation came without an end")

    def _read_line(self, began: float, until: float) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise AgiProtocolError("a line is too long")
            self._fill(began, until)
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        if end > MAX_LINE_BYTES:
            raise AgiProtocolError("a line is too long")
        return line

    def _fill(self, began: float, until: float) -> None:
        """Read some more. ``began`` is when this exchange began, so that single bytes do not buy time."""
        now = monotonic()
        chunk = None
        if now - began < PATIENCE_S:
            chunk = self._transport.receive(min(PATIENCE_S, until - now))
        if chunk is None:
            stalled, self.stalled = self.stalled, None
            if stalled is not None and not stalled():
                raise AgiTimeout("Asterisk keeps us waiting, and too many others do")
            chunk = self._transport.receive(until - monotonic())
        if chunk is None:
            raise AgiTimeout("Asterisk did not send in time")
        if not chunk:
            raise AgiHangup("Asterisk ended the session")
        self._buffer += chunk


def environment_end(received: bytes) -> int:
    """Where the environment ends in what was received of it; -1 when it is not complete.

    Raises ``AgiProtocolError`` when there is more than Asterisk ever sends.
    """
    end = received.find(b"\n\n")
    if end < 0:
        lines = received.count(b"\n")
        too_long = len(received) - received.rfind(b"\n") > MAX_LINE_BYTES + 1
        if lines > MAX_ENVIRONMENT_LINES or too_long or len(received) > MAX_ENVIRONMENT_BYTES:
            raise AgiProtocolError("the environment is too large")
    return end


def _request(env: dict[str, str]) -> AgiRequest:
    script = env.get("agi_network_script")
    if script is None:
        script = env.get("agi_request", "")
        if "://" in script:
            script = script.partition("://")[2].partition("/")[2]
    arguments: list[str] = []
    while (value := env.get(f"agi_arg_{len(arguments) + 1}")) is not None:
        arguments.append(value)
    return AgiRequest(
        script=script.partition("?")[0],
        arguments=tuple(arguments),
        channel=env.get("agi_channel", ""),
        uniqueid=env.get("agi_uniqueid", ""),
        language=env.get("agi_language", ""),
        callerid=env.get("agi_callerid", ""),
        context=env.get("agi_context", ""),
        extension=env.get("agi_extension", ""),
        environment=env,
    )


def _key(result: str) -> str | None:
    """The key whose code Asterisk answered; None for 0, no key."""
    key = chr(int(result)) if _KEY_CODE.fullmatch(result) else ""
    if result != "0" and not _KEYS.fullmatch(key or "?"):
        raise AgiProtocolError("the answer is no key of a telephone")
    return None if result == "0" else key


def _longest(pairs: list[list[str]]) -> int:
    return max(sum(map(len, pair)) + 2 for pair in pairs)


def _check_prompt(name: str, keys: str) -> None:
    if not _SOUND.fullmatch(name) or not _KEYS.fullmatch(keys):
        raise UnsafeAgiValue("a prompt's name or keys have a character that is not allowed")
