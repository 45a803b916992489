"""What goes wrong in AGI sessions, as log events and as counts."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from agent import logs
from agent.adapters.agi_values import AgiProtocolError, AgiRequest
from agent.domain.watch import Abort, Watch
from agent.entrypoints.agi_session import Observer


def session_observer(log: FilteringBoundLogger, watch: Watch) -> Observer:
    """An observer that writes each report as one line, and tells ``watch``."""

    def peer_refused(peer: str) -> None:
        log.warning(logs.PEER_REFUSED, peer=peer)
        watch.peer_refused()

    def overloaded(request: AgiRequest, waited_ms: int) -> None:
        log.warning(logs.REQUEST_OVERDUE, script=request.script, waited_ms=waited_ms)
        watch.overloaded(request.script)

    def aborted(why: Abort, peer: str, request: AgiRequest | None, detail: str = "") -> None:
        told = f"{why}: {detail}" if detail else why
        log.warning(logs.SESSION_ABORTED, why=told, peer=peer, script=request.script if request else None)
        watch.session_aborted(why)

    def failed(request: AgiRequest, error: Exception) -> None:
        log.error(logs.REQUEST_FAILED, script=request.script, uniqueid=request.uniqueid, exc_info=error)
        watch.request_failed(request.script)

    def stuck(script: str, where: str) -> None:
        log.error(logs.WORKER_STUCK, script=script, where=where)
        watch.worker_stuck()

    def accept_failed(error: OSError) -> None:
        log.error(logs.ACCEPT_FAILED, why=str(error))
        watch.accept_failed()

    def violated(peer: str, request: AgiRequest | None, error: AgiProtocolError) -> None:
        aborted(Abort.PROTOCOL, peer, request, str(error))

    return Observer(
        peer_refused=peer_refused,
        unknown_script=lambda request: log.warning(logs.SCRIPT_UNKNOWN, script=request.script),
        overloaded=overloaded,
        hung_up=lambda peer, request: aborted(Abort.HANG_UP, peer, request),
        session_timed_out=lambda peer, request: aborted(Abort.TIME_OUT, peer, request),
        protocol_violated=violated,
        request_failed=failed,
        worker_stuck=stuck,
        accept_failed=accept_failed,
    )
