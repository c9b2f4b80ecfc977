"""What ended a call that is no success: the values of `ended_by`.

docs/reference/document.md says what each means.
"""

EXCEPTION = "exception"
RESPONSE = "response"  # which holds an error itself
CALLER = "caller"  # gave a status, and no error
SOFT_TIME_LIMIT = "soft_time_limit"
HARD_TIME_LIMIT = "hard_time_limit"
TASK_RETRY = "task_retry"
TASK_ENDED = "task_ended"
BLOCK_ENDED = "block_ended"
REVOKED = "revoked"
SHUTDOWN = "shutdown"
PROCESS_EXIT = "process_exit"
INTERRUPTED = "interrupted"
WORKER_LOST = "worker_lost"
LEASE_EXPIRED = "lease_expired"
RECORD_LOST = "record_lost"
SPAN_ENDED = "span_ended"  # and says of no answer
PAUSED = "paused"  # somebody is asked first, and another run goes on
IN_BACKGROUND = "in_background"  # the answer says that the result is still to come
STREAM_CLOSED = "stream_closed"  # by the app, which did not read to the end
STREAM_DROPPED = "stream_dropped"  # by the garbage collector: nobody held it any more
BROKEN_OFF = "broken_off"  # the answer is not whole, and nothing else says why
NOT_CAPTURED = "not_captured"  # of the answer nothing was seen, by a fault of ours

ALL = tuple(value for name, value in list(globals().items()) if name.isupper())
