"""The whole journey on one screen: the states, and which may follow which. Start reading here."""

from django.db.models import TextChoices


class UploadState(TextChoices):
    RECEIVING = "receiving", "Receiving"
    ASSEMBLING = "assembling", "Assembling"
    VALIDATING = "validating", "Validating"
    HELD = "held", "Held"
    DELIVERING = "delivering", "Delivering"
    DELIVERED = "delivered", "Delivered"
    VERIFIED = "verified", "Verified"
    FAILED = "failed", "Failed"
    REJECTED = "rejected", "Rejected"
    CANCELLED = "cancelled", "Cancelled"
    EXPIRED = "expired", "Expired"


class DeliveryState(TextChoices):
    PENDING = "pending", "Pending"
    SENDING = "sending", "Sending"
    WAITING = "waiting", "Waiting"
    PAUSED = "paused", "Paused"
    STORED = "stored", "Stored"
    VERIFIED = "verified", "Verified"
    PARTIAL = "partial", "Partial"
    REFUSED = "refused", "Refused"


U, D = UploadState, DeliveryState

UPLOAD_MOVES: dict[UploadState, frozenset[UploadState]] = {
    U.RECEIVING: frozenset({U.ASSEMBLING, U.CANCELLED, U.EXPIRED}),
    # back to receiving: a chunk on disk no longer has the digest it was acknowledged with
    U.ASSEMBLING: frozenset({U.VALIDATING, U.RECEIVING, U.REJECTED, U.FAILED, U.CANCELLED}),
    U.VALIDATING: frozenset({U.DELIVERING, U.HELD, U.REJECTED, U.FAILED, U.CANCELLED}),
    U.HELD: frozenset({U.VALIDATING, U.DELIVERING, U.REJECTED, U.CANCELLED}),
    U.DELIVERING: frozenset({U.DELIVERED, U.FAILED, U.CANCELLED}),
    # back to delivering: the PACS was asked and has lost, or never kept, what it said it stored
    U.DELIVERED: frozenset({U.VERIFIED, U.DELIVERING, U.FAILED}),
    U.VERIFIED: frozenset(),
    # from failed, a retry goes on with the leg that gave up
    U.FAILED: frozenset({U.ASSEMBLING, U.VALIDATING, U.DELIVERING, U.DELIVERED, U.CANCELLED}),
    U.REJECTED: frozenset(),
    U.CANCELLED: frozenset(),
    U.EXPIRED: frozenset(),
}

DELIVERY_MOVES: dict[DeliveryState, frozenset[DeliveryState]] = {
    # to refused or partial from here: redirected to another destination, or given up, by an administrator
    D.PENDING: frozenset({D.SENDING, D.WAITING, D.PAUSED, D.PARTIAL, D.REFUSED}),
    D.SENDING: frozenset({D.STORED, D.WAITING, D.PAUSED, D.PARTIAL, D.REFUSED}),
    D.WAITING: frozenset({D.SENDING, D.PENDING, D.PAUSED, D.PARTIAL, D.REFUSED}),
    D.PAUSED: frozenset({D.PENDING, D.PARTIAL, D.REFUSED}),
    D.STORED: frozenset({D.VERIFIED, D.WAITING, D.PARTIAL, D.REFUSED}),
    D.VERIFIED: frozenset(),
    D.PARTIAL: frozenset({D.PENDING}),
    D.REFUSED: frozenset({D.PENDING}),
}

# States in which a worker has the next step; everywhere else the clinic, a person or nobody has it.
UPLOAD_LEGS = frozenset({U.ASSEMBLING, U.VALIDATING})
DELIVERY_LEGS = frozenset({D.PENDING, D.SENDING, D.WAITING, D.STORED})

# While any required delivery is in one of these the upload is `delivering`.
UNDECIDED = frozenset({D.PENDING, D.SENDING, D.WAITING, D.PAUSED})
UNDELIVERED = UNDECIDED | {D.PARTIAL, D.REFUSED}
# Before these have passed nothing is sent, but to a destination that takes images while they are received.
UNDISPATCHED = frozenset({U.RECEIVING, U.ASSEMBLING, U.VALIDATING, U.HELD})
FINAL = frozenset({U.VERIFIED, U.REJECTED, U.CANCELLED, U.EXPIRED})
CANCELLABLE = frozenset({U.RECEIVING, U.ASSEMBLING, U.VALIDATING, U.HELD, U.DELIVERING, U.FAILED})


class ServiceLevel(TextChoices):
    ROUTINE = "routine", "Routine"
    EMERGENCY = "emergency", "Emergency"
    STAT = "stat", "STAT"


URGENCY = {ServiceLevel.STAT: 0, ServiceLevel.EMERGENCY: 1, ServiceLevel.ROUTINE: 2}
