"""One AGI session as an entry point serves it: read the request, run the handler, report what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from agent.adapters.agi_channel import AgiChannel
from agent.adapters.agi_values import AgiHangup, AgiProtocolError, AgiRequest, AgiTimeout

Handler = Callable[[AgiRequest, AgiChannel, float], None]
"""Serves one session. The float is when its answer is due, in seconds on ``time.monotonic``."""
Refusal = Callable[[AgiRequest, AgiChannel], None]
"""Says no on behalf of a handler that failed or was not called. It must be quick."""


def _ignore(*_: object) -> None:
    """What a hook does when nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Callbacks for what the server sees, called on the session's thread. They must be quick and must not raise."""

    peer_refused: Callable[[str], None] = _ignore
    """A peer outside the allow-list was closed at once; its address."""
    unknown_script: Callable[[AgiRequest], None] = _ignore
    """No such script: closed, nothing set."""
    overloaded: Callable[[AgiRequest, int], None] = _ignore
    """A request was not served but answered by ``overloaded``; it had waited that many milliseconds."""
    hung_up: Callable[[str, AgiRequest | None], None] = _ignore
    """Asterisk ended the session early; the peer, and the request when it was complete."""
    session_timed_out: Callable[[str, AgiRequest | None], None] = _ignore
    """Asterisk kept us waiting too long; the peer, and the request when it was complete."""
    protocol_violated: Callable[[str, AgiRequest | None, AgiProtocolError], None] = _ignore
    """A peer does not speak AGI, or refused a command: closed; the peer, and the request when it was complete."""
    request_failed: Callable[[AgiRequest, Exception], None] = _ignore
    """A handler, or the answer in its stead, raised."""
    worker_stuck: Callable[[str, str], None] = _ignore
    """A session takes much longer than it ever may; the script, and the functions that it hangs in."""
    accept_failed: Callable[[OSError], None] = _ignore
    """No connection could be taken, for example because no file descriptor is left; the worker tries again."""


def read_request(channel: AgiChannel, peer: str, observer: Observer) -> AgiRequest | None:
    """The request of a session that just opened; None when there is none: it has ended then, and ``observer`` hears."""
    try:
        return channel.read_request()
    except AgiHangup:
        report = partial(observer.hung_up, peer, None)
    except AgiTimeout:
        report = partial(observer.session_timed_out, peer, None)
    except AgiProtocolError as error:
        report = partial(observer.protocol_violated, peer, None, error)
    channel.end()
    report()
    return None


def answer(
    handle: Callable[[], None],
    failed: Callable[[], None],
    request: AgiRequest,
    channel: AgiChannel,
    peer: str,
    observer: Observer,
) -> bool:
    """Run ``handle``, and ``failed`` when it raises what it should not; True when ``handle`` came to its end.

    A session that is broken is not answered again: there is nobody to hear it, and the call may be recorded already.
    The session is over when ``observer`` is told what went wrong.
    """
    reports: list[Callable[[], None]] = []
    done = False
    for attempt in (handle, failed):
        try:
            attempt()
            done = attempt is handle
            break
        except AgiHangup:
            reports.append(partial(observer.hung_up, peer, request))
            break
        except AgiTimeout:
            reports.append(partial(observer.session_timed_out, peer, request))
            break
        except AgiProtocolError as error:
            reports.append(partial(observer.protocol_violated, peer, request, error))
            break
        except Exception as error:  # noqa: BLE001  # the one place: report, say no, go on
            reports.append(partial(observer.request_failed, request, error))
    channel.end()
    for report in reports:
        report()
    return done
