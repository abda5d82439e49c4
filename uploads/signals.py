"""What the journey out announces, so that the journey back can answer without being imported."""

from django.dispatch import Signal

delivered = Signal()  # sent with `upload`, inside the transaction that makes it `delivered`
