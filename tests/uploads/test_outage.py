"""A PACS that is down for an hour with fifty studies waiting (the clock is compressed): probed gently, then drained."""

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pydicom
import pytest
import time_machine
from django.utils import timezone
from pydicom.data import get_testdata_file

from accounts.models import Role
from tests import factories
from tests.handin import HandIn, work
from tests.loopback import LOOPBACK, free_port
from tests.scripted import scripted_scp
from tests.uploads.test_delivery import to
from tests.uploads.test_validation import changed
from uploads.models import Delivery, Destination
from uploads.pipeline import sweep

pytestmark = [pytest.mark.integration, pytest.mark.clinical, pytest.mark.long, pytest.mark.django_db]

STUDIES = 50
LEVELS = ("routine", "emergency", "stat")
STEP = 10.0  # seconds of the compressed clock
HOUR = 3600.0


@contextmanager
def hangs_up(port: int) -> Iterator[list[float]]:
    """Somebody who takes connections at this port and drops them; the moments at which they came."""
    calls: list[float] = []
    over = threading.Event()
    server = socket.create_server((LOOPBACK, port))
    server.settimeout(0.02)

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            calls.append(time.time())
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield calls
    finally:
        over.set()
        thread.join()
        server.close()


def test_an_hour_without_the_pacs() -> None:
    user = factories.person(Role.RADIOGRAPHER)
    template = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    root = str(pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).SOPInstanceUID)
    port = free_port()
    with scripted_scp() as well, time_machine.travel(timezone.now(), tick=True) as clock:
        to(well, name="well")
        down = factories.DestinationFactory.create(
            name="down", url=f"dicom://SCRIPTED@{LOOPBACK}:{port}", max_associations=1
        )
        with hangs_up(port) as calls:
            handed_in = []
            for number in range(STUDIES):
                uid = f"{root}.{number}"
                file = changed(template, SOPInstanceUID=uid, StudyInstanceUID=f"{uid}.1", SeriesInstanceUID=f"{uid}.2")
                hand_in = HandIn(user, {"IM1": file}).everything(service_level=LEVELS[number % 3])
                handed_in.append((LEVELS[number % 3], uid, hand_in))
                work()
            began = time.time()
            while time.time() < began + HOUR:
                clock.shift(STEP)
                sweep.sweep()
                work()
            waiting = Delivery.objects.filter(destination=down)
            assert waiting.filter(state="waiting").count() + waiting.filter(state="pending").count() == STUDIES
            assert Delivery.objects.filter(destination__name="well", state="verified").count() == STUDIES
            assert Destination.objects.get(name="down").down_since is not None
        assert len(calls) >= HOUR / 60
        pauses = [later - earlier for earlier, later in itertools.pairwise(calls)]
        # an attempt may look and send, over two connections at once; between two attempts lie thirty seconds
        assert min(pause for pause in pauses if pause > 1.0) >= 29.0
        assert sum(pause <= 1.0 for pause in pauses) <= 1
        with scripted_scp(port=port) as back:
            clock.shift(timedelta(seconds=30))
            work()
            order = [one.sop_instance_uid for one in back.received]
    first, *rest = order
    wanted = [uid for level in ("stat", "emergency", "routine") for name, uid, _ in handed_in if name == level]
    assert sorted(order) == sorted(wanted)
    assert rest == [uid for uid in wanted if uid != first], "all in order behind the one that was the probe"
    assert {hand_in.truth()["state"] for _, _, hand_in in handed_in} == {"verified"}
