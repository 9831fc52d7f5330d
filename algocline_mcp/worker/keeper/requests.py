"""Life of a request as a table `(state, event) -> state`. Pure: `request_runner` observes, looks up and performs.

A client has at most one request at a time. A request first waits for its decision, then until the computing that
followed from it has ended.

Decision. A request is not decided while a replay is under way: before an engine has come to the end of the journal,
the replay may still diverge, and then no answer may be taken. Computing delays no decision: an answer to one stream is
taken while another stream computes. A cancel waits for nothing, because it ends every engine. A journal that cannot go
on (`fatal`) leaves nothing to decide: the reply is the reason.

Second try. A session is stuck when its engine died too often in one step. For a request that waits (`wait_s` over 0)
the decision is then RETRY: the engines start again, and the request is decided once more when nothing computes, so that
the outcome of the whole step is the reply. A request is retried at most once. A request that waited during a replay
is not retried, because the replay was its try: otherwise every waiting request would start further engines that die. If
the session is still stuck then, or the request does not wait, the request is put off: it is not judged, and the reply
gives the state and says that no answer was taken.

Reply. A decided request is answered as soon as nothing computes. Answers that were taken but complete no prompt let
nothing run; the reply says so at once (ACCEPTED).

Reply without a decision. The time of a request is up after `wait_s`, or when the worker leaves. A step that failed (no
process for an engine, a full disk) is reported as soon as nothing computes; while another stream computes, the failure
may still pass. The reply to a request that was not decided, or was put off, says that its answers were not taken.

Not in the table: a malformed request, and one for another session, is refused on arrival and never has a state.
"""

from enum import Enum, auto


class RequestState(Enum):
    HELD = auto()  # not decided, and no replay was under way since it came
    IN_REPLAY = auto()  # not decided; a replay was under way while it waited
    RETRIED = auto()  # not decided; it had the stuck step tried again
    DECIDING = auto()  # the session decides now, and may ask for a second try
    DECIDING_FINALLY = auto()  # the session decides now; there is no further try
    DECIDED = auto()  # waits until nothing computes
    PUT_OFF = auto()  # the session is stuck and judged nothing; waits until nothing computes
    # The last state of a request names its reply.
    REPORTED = auto()  # the state of the session
    ACCEPTED = auto()  # its answers were taken and let nothing run
    NOT_TAKEN = auto()  # the state of the session, and that its answers were not taken
    REFUSED = auto()  # an error: the decision refused it as a whole, or the disk does not take its answers


class RequestEvent(Enum):
    # What the session allows now, see `observe`.
    CANCEL = auto()  # the request cancels the session
    FATAL = auto()  # the journal cannot go on
    STEP_FAILED = auto()  # the step failed and nothing computes
    STEP_FAILING = auto()  # the step failed while other streams compute
    REPLAYING = auto()  # an engine has not come to where the journal ends
    COMPUTING = auto()  # no replay is under way, and an engine computes
    AT_REST = auto()  # nothing computes
    # What the session decided.
    DECIDE = auto()
    ACCEPT = auto()
    REFUSE = auto()
    RETRY = auto()  # it is stuck, and the request waits
    PUT_OFF = auto()  # it is stuck, and the request does not wait
    # What ends the waiting.
    TIME_UP = auto()  # its deadline has passed, or the worker leaves


_S, _E = RequestState, RequestEvent

TRANSITIONS: dict[tuple[RequestState, RequestEvent], RequestState] = {
    (_S.HELD, _E.CANCEL): _S.DECIDING,
    (_S.HELD, _E.FATAL): _S.REPORTED,
    (_S.HELD, _E.STEP_FAILED): _S.NOT_TAKEN,
    (_S.HELD, _E.STEP_FAILING): _S.HELD,
    (_S.HELD, _E.REPLAYING): _S.IN_REPLAY,
    (_S.HELD, _E.COMPUTING): _S.DECIDING,
    (_S.HELD, _E.AT_REST): _S.DECIDING,
    (_S.HELD, _E.TIME_UP): _S.NOT_TAKEN,
    (_S.IN_REPLAY, _E.FATAL): _S.REPORTED,
    (_S.IN_REPLAY, _E.STEP_FAILED): _S.NOT_TAKEN,
    (_S.IN_REPLAY, _E.STEP_FAILING): _S.IN_REPLAY,
    (_S.IN_REPLAY, _E.REPLAYING): _S.IN_REPLAY,
    (_S.IN_REPLAY, _E.COMPUTING): _S.DECIDING_FINALLY,
    (_S.IN_REPLAY, _E.AT_REST): _S.DECIDING_FINALLY,
    (_S.IN_REPLAY, _E.TIME_UP): _S.NOT_TAKEN,
    (_S.RETRIED, _E.FATAL): _S.REPORTED,
    (_S.RETRIED, _E.STEP_FAILED): _S.NOT_TAKEN,
    (_S.RETRIED, _E.STEP_FAILING): _S.RETRIED,
    (_S.RETRIED, _E.REPLAYING): _S.RETRIED,
    (_S.RETRIED, _E.COMPUTING): _S.RETRIED,  # the second try is not over
    (_S.RETRIED, _E.AT_REST): _S.DECIDING_FINALLY,
    (_S.RETRIED, _E.TIME_UP): _S.NOT_TAKEN,
    (_S.DECIDING, _E.DECIDE): _S.DECIDED,
    (_S.DECIDING, _E.ACCEPT): _S.ACCEPTED,
    (_S.DECIDING, _E.REFUSE): _S.REFUSED,
    (_S.DECIDING, _E.RETRY): _S.RETRIED,
    (_S.DECIDING, _E.PUT_OFF): _S.PUT_OFF,
    (_S.DECIDING_FINALLY, _E.DECIDE): _S.DECIDED,
    (_S.DECIDING_FINALLY, _E.ACCEPT): _S.ACCEPTED,
    (_S.DECIDING_FINALLY, _E.REFUSE): _S.REFUSED,
    (_S.DECIDING_FINALLY, _E.RETRY): _S.PUT_OFF,
    (_S.DECIDING_FINALLY, _E.PUT_OFF): _S.PUT_OFF,
    (_S.DECIDED, _E.COMPUTING): _S.DECIDED,
    (_S.DECIDED, _E.AT_REST): _S.REPORTED,
    (_S.DECIDED, _E.TIME_UP): _S.REPORTED,
    (_S.PUT_OFF, _E.COMPUTING): _S.PUT_OFF,
    (_S.PUT_OFF, _E.AT_REST): _S.NOT_TAKEN,
    (_S.PUT_OFF, _E.TIME_UP): _S.NOT_TAKEN,
}

UNDECIDED = frozenset((_S.HELD, _S.IN_REPLAY, _S.RETRIED))


def is_engine_needed(op: str, *, is_waiting: bool) -> bool:
    """The outcome of the request depends on computing, so missing engines are started for it."""
    return op == "continue" or (is_waiting and op != "shutdown")


def observe(
    *,
    is_cancel: bool,
    is_unreadable: bool,
    is_fatal: bool,
    is_step_failed: bool,
    is_replaying: bool,
    is_computing: bool,
) -> RequestEvent:
    """What a session allows a request that is not decided.

    `is_unreadable`: no record could be folded, so that even a cancel cannot be recorded. `is_step_failed`: the step
    failed, and this request needs an engine.
    """
    if is_fatal and (is_unreadable or not is_cancel):
        return RequestEvent.FATAL
    if is_cancel:
        return RequestEvent.CANCEL
    if is_step_failed:
        return RequestEvent.STEP_FAILING if is_computing else RequestEvent.STEP_FAILED
    if is_replaying:
        return RequestEvent.REPLAYING
    return RequestEvent.COMPUTING if is_computing else RequestEvent.AT_REST
