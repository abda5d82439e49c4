"""One study through everything: the API, the pack, the legs, a PACS that answers, and one that is asked again."""

import hashlib
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from accounts.models import Role
from tests import factories
from tests.handin import HandIn, work
from tests.scripted import scripted_scp
from uploads.models import Receipt

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


def test_it_brings_a_study_from_the_api_to_a_pacs_and_asks_it_again() -> None:
    user = factories.person(Role.RADIOGRAPHER)
    with scripted_scp() as pacs:
        factories.DestinationFactory.create(name="PACS", url=f"dicom://{pacs.ae}@127.0.0.1:{pacs.port}")
        hand_in = HandIn(user, {"CD/IM1": sample("CT_small.dcm"), "CD/readme.txt": b"hello"}).everything()
        work(printing=True)
        truth = hand_in.truth()
    assert truth["state"] == "verified", truth
    assert truth["files"] == {"total": 2, "dicom": 1, "ignored": 1, "rejected": 0}
    assert truth["deliveries"][0] | {"attempts": 1} == truth["deliveries"][0]
    assert truth["deliveries"][0]["proof"] == "query"
    assert [report["state"] for report in truth["reports"]] == ["assigned"]
    assert len(pacs.received) == 1
    assert hashlib.sha256(pacs.received[0].data_set).hexdigest() == pacs.received[0].sha256
    receipt = hand_in.client.get(f"{hand_in.url}/receipt")
    assert receipt.status_code == 200, Receipt.objects.values()
    assert receipt.content.startswith(b"%PDF")
