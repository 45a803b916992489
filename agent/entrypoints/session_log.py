"""What goes wrong in AGI sessions, as log events."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from agent import logs
from agent.adapters.agi_values import AgiProtocolError, AgiRequest
from agent.entrypoints.agi_session import Observer


def session_observer(log: FilteringBoundLogger) -> Observer:
    """An observer that writes each report as one line."""

    def aborted(why: str, peer: str, request: AgiRequest | None) -> None:
        log.warning(logs.SESSION_ABORTED, why=why, peer=peer, script=request.script if request else None)

    def violated(peer: str, request: AgiRequest | None, error: AgiProtocolError) -> None:
        aborted(f"protocol: {error}", peer, request)

    return Observer(
        peer_refused=lambda peer: log.warning(logs.PEER_REFUSED, peer=peer),
        unknown_script=lambda request: log.warning(logs.SCRIPT_UNKNOWN, script=request.script),
        overloaded=lambda request, waited_ms: log.warning(
            logs.REQUEST_OVERDUE, script=request.script, waited_ms=round(waited_ms)
        ),
        hung_up=lambda peer, request: aborted("hang-up", peer, request),
        session_timed_out=lambda peer, request: aborted("time-out", peer, request),
        protocol_violated=violated,
        request_failed=lambda request, error: log.error(
            logs.REQUEST_FAILED, script=request.script, uniqueid=request.uniqueid, exc_info=error
        ),
        accept_failed=lambda error: log.error(logs.ACCEPT_FAILED, why=str(error)),
    )
