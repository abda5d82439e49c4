"""An administrator steers one delivery: nothing stored is forgotten, nothing is sent twice, and each act has a name."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Role, User
from relaypacs.errors import NotAllowed, Rejected, WrongState
from tests import factories
from tests.handin import HandIn, work
from tests.loopback import free_port
from tests.scripted import scripted_scp
from tests.uploads.test_delivery import study, to
from uploads.models import Answer, Delivery, Destination, Instance, Upload
from uploads.pipeline import decisions, destinations, legs, receipt, settling, steering
from uploads.pipeline.ledger import Ledger
from uploads.states import DeliveryState, UploadState
from uploads.truth import truth

pytestmark = [pytest.mark.integration, pytest.mark.clinical, pytest.mark.django_db]

D, U = DeliveryState, UploadState


@pytest.fixture
def administrator() -> User:
    return factories.person(Role.ADMIN)


@pytest.fixture
def user() -> User:
    return factories.person(Role.RADIOGRAPHER)


def delivery(state: DeliveryState, *answers: Answer, upload: UploadState = U.DELIVERING, **fields: Any) -> Delivery:
    row = factories.DeliveryFactory.create(state=state, study__upload__state=upload, due_at=None, **fields)
    for answer in answers:
        factories.LedgerEntryFactory.create(delivery=row, answer=answer, attempts=3)
    return row


def failed(state: DeliveryState, *answers: Answer) -> Delivery:
    row = delivery(state, *answers, upload=U.FAILED)
    Upload.objects.update(failed_from=U.DELIVERING)
    return row


def answers(row: Delivery) -> list[str]:
    return list(row.entries.order_by("pk").values_list("answer", flat=True))


class TestRetry:
    @pytest.mark.parametrize("state", [D.WAITING, D.PAUSED])
    def test_what_waits_goes_at_once(self, state: DeliveryState, administrator: User) -> None:
        down = factories.DestinationFactory.create(
            down_since=timezone.now(), probe_at=timezone.now() + timedelta(hours=1)
        )
        row = steering.retry_now(delivery(state, Answer.RETRY, destination=down, failures=4), administrator)
        row.refresh_from_db()
        assert (row.state, row.failures, row.last_error_code) == (D.PENDING, 0, "")
        assert row.due_at is not None
        assert row.due_at <= timezone.now()
        assert destinations.claim() == row
        move = row.transitions.get()
        assert (move.from_state, move.to_state, move.because, move.actor) == (
            state,
            "pending",
            "retried",
            administrator,
        )

    def test_a_given_up_one_goes_on_with_what_has_no_answer(self, administrator: User) -> None:
        row = failed(D.PARTIAL, Answer.STORED, Answer.UNSENT, Answer.REFUSED)
        steering.retry_now(row, administrator)
        assert answers(row) == [Answer.STORED, Answer.UNSENT, Answer.REFUSED]
        assert Upload.objects.get().state == U.DELIVERING

    def test_where_every_answer_is_final_there_is_nothing_to_send(self, administrator: User) -> None:
        row = failed(D.PARTIAL, Answer.STORED, Answer.REFUSED, Answer.SKIPPED)
        with pytest.raises(WrongState, match="nothing_to_send"):
            steering.retry_now(row, administrator)
        assert Delivery.objects.get().state == D.PARTIAL

    def test_only_the_refused_are_sent_again(self, administrator: User) -> None:
        row = failed(D.PARTIAL, Answer.STORED, Answer.REFUSED, Answer.CHANGED, Answer.SKIPPED)
        steering.retry_refused(row, administrator)
        assert answers(row) == [Answer.STORED, Answer.UNSENT, Answer.CHANGED, Answer.SKIPPED]
        upload = Upload.objects.get()
        assert (upload.state, upload.problem_code, upload.failed_from) == (U.DELIVERING, "", "")
        assert Delivery.objects.get().transitions.get().because == "retried_refused"

    def test_what_must_not_go_there_is_not_sent_by_any_retry(self, administrator: User) -> None:
        """Rule S13: images that may show a name, to a destination that must not get them."""
        row = failed(D.REFUSED, Answer.REFUSED, Answer.REFUSED)
        Destination.objects.update(deidentified=True)
        named = row.entries.order_by("pk").first()
        assert named is not None
        Instance.objects.filter(pk=named.instance_id).update(burned_in=True)
        steering.retry_refused(row, administrator)
        assert answers(row) == [Answer.REFUSED, Answer.UNSENT]
        Delivery.objects.update(state=D.REFUSED)
        Upload.objects.update(state=U.FAILED, failed_from=U.DELIVERING)
        decisions.retry(administrator, Upload.objects.get())
        assert answers(row) == [Answer.REFUSED, Answer.UNSENT]
        Delivery.objects.update(state=D.REFUSED)
        with pytest.raises(WrongState, match="nothing_refused"):
            steering.retry_refused(row, administrator)

    def test_one_that_must_not_get_them_does_not_get_them_by_a_redirection(self, administrator: User) -> None:
        row, other = delivery(D.WAITING, Answer.UNSENT), factories.DestinationFactory.create(deidentified=True)
        Instance.objects.update(burned_in=True)
        fresh = steering.redirect(row, other, actor=administrator, reason="x")
        assert answers(fresh) == [Answer.REFUSED]

    def test_where_nothing_was_refused_there_is_nothing_to_retry(self, administrator: User) -> None:
        with pytest.raises(WrongState, match="nothing_refused"):
            steering.retry_refused(failed(D.PARTIAL, Answer.STORED, Answer.UNSENT), administrator)

    def test_a_study_whose_images_are_gone_cannot_be_sent(self, administrator: User) -> None:
        row = delivery(D.PARTIAL, Answer.UNSENT, upload=U.VERIFIED, required=False)
        Upload.objects.update(pack_removed_at=timezone.now())
        with pytest.raises(WrongState, match="pack_removed"):
            steering.retry_now(row, administrator)


class TestRedirect:
    def test_the_other_pacs_gets_all_of_it_and_what_the_first_stored_stays_listed(
        self, administrator: User, user: User
    ) -> None:
        with scripted_scp(statuses=[0, 0xA900, 0]) as first:
            to(first, name="First")
            hand_in = HandIn(user, study(3)).everything()
            work()
            assert hand_in.truth()["state"] == "failed"
            with scripted_scp() as second:
                other = to(second, name="Second", active=False)
                Destination.objects.filter(pk=other.pk).update(active=True)
                other.refresh_from_db()
                steering.redirect(Delivery.objects.get(), other, actor=administrator, reason="First refuses our CTs.")
                assert hand_in.truth()["state"] == "delivering"
                work()
        truth = hand_in.truth()
        old, new = truth["deliveries"]
        assert truth["state"] == "verified"
        assert (old["destination"], old["state"], old["required"], old["stored"]) == ("First", "partial", False, 2)
        assert (new["destination"], new["state"], new["required"], new["verified"]) == ("Second", "verified", True, 3)
        assert len(second.received) == 3
        assert (old["redirected_to"], new["redirected_to"]) == ("Second", None)
        assert old["notes"] == [
            {"code": "redirected", "detail": "Sent to Second instead. First refuses our CTs.", "instances": 1}
        ]
        printed = receipt.html(hand_in.upload, "verified")
        assert "2 of 3" in printed
        assert "Sent to Second instead. First refuses our CTs. (1 image)" in printed
        assert "The PACS listed every image when asked." in printed
        rows = hand_in.upload.transitions.filter(because="redirected").order_by("pk")
        assert [(row.delivery and row.delivery.destination_name, row.to_state, row.actor) for row in rows] == [
            ("Second", "pending", administrator),
            ("First", "partial", administrator),
        ]

    def test_it_ends_the_old_one_with_the_reason(self, administrator: User) -> None:
        row, other = delivery(D.WAITING, Answer.RETRY, Answer.UNSENT), factories.DestinationFactory.create()
        fresh = steering.redirect(row, other, actor=administrator, reason=" moved house ")
        row.refresh_from_db()
        assert (row.state, row.required, row.redirected_to, row.due_at) == (D.REFUSED, False, fresh, None)
        assert row.notes == [{"code": "redirected", "detail": f"Sent to {other} instead. moved house", "instances": 2}]
        assert (fresh.state, fresh.required, answers(fresh)) == (D.PENDING, True, [Answer.UNSENT] * 2)
        assert fresh.study == row.study

    def test_an_optional_one_stays_optional_and_its_old_end_decides_nothing(self, administrator: User) -> None:
        row = delivery(D.PAUSED, Answer.UNSENT, required=False)
        fresh = steering.redirect(row, factories.DestinationFactory.create(), actor=administrator, reason="x")
        assert fresh.required is False
        assert Upload.objects.get().state == U.DELIVERING

    def test_its_end_decides_nothing_once_the_other_has_it(self) -> None:
        redirected = Delivery(state=D.PARTIAL, required=False, redirected_to_id=uuid.uuid4())
        assert settling.verdict([redirected, Delivery(state=D.VERIFIED, required=False)]) == U.VERIFIED
        assert settling.verdict([redirected, Delivery(state=D.VERIFIED, required=True)]) == U.VERIFIED

    def test_a_retry_of_the_upload_leaves_what_was_redirected_alone(self, administrator: User) -> None:
        row = failed(D.REFUSED, Answer.REFUSED)
        fresh = steering.redirect(row, factories.DestinationFactory.create(), actor=administrator, reason="x")
        steering.give_up(fresh, actor=administrator, reason="y")
        upload = Upload.objects.get()
        assert upload.state == U.FAILED
        decisions.retry(administrator, upload)
        assert dict(Delivery.objects.values_list("pk", "state")) == {row.pk: "refused", fresh.pk: "pending"}
        with pytest.raises(WrongState, match="redirected"):
            steering.retry_refused(row, administrator)

    def test_not_where_a_delivery_of_it_exists_nor_to_one_that_is_off(self, administrator: User) -> None:
        row = delivery(D.WAITING, Answer.UNSENT)
        there = factories.DeliveryFactory.create(study=row.study)
        for other in (row.destination, there.destination):
            with pytest.raises(WrongState, match="there_already"):
                steering.redirect(row, other, actor=administrator, reason="x")
        with pytest.raises(WrongState, match="not_active"):
            steering.redirect(row, factories.DestinationFactory.create(active=False), actor=administrator, reason="x")
        assert Delivery.objects.count() == 2

    def test_it_wants_a_reason(self, administrator: User) -> None:
        other = factories.DestinationFactory.create()
        with pytest.raises(Rejected, match="reason_required"):
            steering.redirect(delivery(D.WAITING), other, actor=administrator, reason=" ")


class TestGiveUp:
    @pytest.mark.parametrize(("kept", "state"), [(True, D.PARTIAL), (False, D.REFUSED)])
    def test_a_required_one_fails_the_upload_with_the_reason(
        self, administrator: User, kept: bool, state: DeliveryState
    ) -> None:
        row = delivery(D.PAUSED, Answer.STORED if kept else Answer.UNSENT, Answer.RETRY)
        steering.give_up(row, actor=administrator, reason="The PACS is gone.")
        row.refresh_from_db()
        upload = Upload.objects.get()
        assert (row.state, row.last_error_code, row.notes[0]["code"]) == (state, "given_up", "given_up")
        assert (upload.state, upload.problem_code, upload.failed_from) == (U.FAILED, "given_up", U.DELIVERING)
        assert "The PACS is gone." in upload.problem_detail
        assert row.transitions.get().actor == administrator
        decisions.retry(administrator, upload)
        assert Delivery.objects.get().state == D.PENDING

    def test_it_says_of_how_many_images_nobody_knows(self, administrator: User) -> None:
        row = steering.give_up(
            delivery(D.WAITING, Answer.STORED, Answer.UNKNOWN, Answer.SENDING), actor=administrator, reason="x"
        )
        assert row.notes[0]["detail"].endswith("Of 2 of them it is not known whether they had arrived.")
        assert row.notes[0]["instances"] == 2

    def test_an_optional_one_leaves_the_upload_as_it_is(self, administrator: User) -> None:
        row = delivery(D.STORED, Answer.STORED, upload=U.DELIVERED)
        optional = factories.DeliveryFactory.create(study=row.study, state=D.WAITING, required=False)
        steering.give_up(optional, actor=administrator, reason="x")
        assert Upload.objects.get().state == U.DELIVERED


class TestWhoAndWhen:
    ACTS = ("retry_now", "retry_refused", "redirect", "give_up")

    def act(self, verb: str, row: Delivery, actor: User) -> None:
        if verb == "redirect":
            steering.redirect(row, factories.DestinationFactory.create(), actor=actor, reason="x")
        elif verb == "give_up":
            steering.give_up(row, actor=actor, reason="x")
        else:
            getattr(steering, verb)(row, actor)

    @pytest.mark.parametrize("verb", ACTS)
    def test_only_administrators(self, verb: str, user: User) -> None:
        row = delivery(D.WAITING, Answer.RETRY)
        with pytest.raises(NotAllowed):
            self.act(verb, row, user)
        row.refresh_from_db()
        assert (row.state, row.lease_epoch) == (D.WAITING, 0)

    @pytest.mark.parametrize("verb", ACTS)
    @pytest.mark.parametrize("state", [D.SENDING, D.STORED, D.VERIFIED])
    def test_not_what_is_being_sent_or_is_there(self, verb: str, state: DeliveryState, administrator: User) -> None:
        row = delivery(state, Answer.STORED)
        with pytest.raises(WrongState):
            self.act(verb, row, administrator)
        assert Delivery.objects.count() == 1
        row.refresh_from_db()
        assert row.state == state

    @pytest.mark.parametrize("verb", ["retry_now", "redirect", "give_up"])
    def test_not_what_a_worker_has_just_taken(self, verb: str, administrator: User) -> None:
        row = delivery(D.WAITING, Answer.RETRY)
        Delivery.objects.update(due_at=timezone.now())
        held = destinations.claim()
        with pytest.raises(WrongState, match="busy"):
            self.act(verb, row, administrator)
        assert held is not None
        held.guard()

    @pytest.mark.parametrize("verb", ACTS)
    def test_nothing_of_a_cancelled_upload(self, verb: str, administrator: User) -> None:
        row = delivery(D.PARTIAL, Answer.REFUSED, Answer.UNSENT, upload=U.CANCELLED)
        with pytest.raises(WrongState):
            self.act(verb, row, administrator)

    @pytest.mark.parametrize("verb", ["retry_now", "redirect", "give_up"])
    def test_nothing_of_an_upload_that_has_not_passed_its_checks(self, verb: str, administrator: User) -> None:
        """What was relayed while it was received is not sent on by hand once its checks have failed."""
        for state, failed_from in [(U.RECEIVING, ""), (U.HELD, ""), (U.FAILED, U.VALIDATING)]:
            row = delivery(D.WAITING, Answer.UNSENT, upload=state)
            Upload.objects.filter(pk=row.upload_id).update(failed_from=failed_from)
            with pytest.raises(WrongState):
                self.act(verb, row, administrator)

    def test_what_a_worker_learns_while_it_sends_is_never_lost(self, administrator: User, user: User) -> None:
        """The verbs refuse while the answers are on their way; afterwards the ledger has them."""
        with scripted_scp() as pacs:
            to(pacs)
            HandIn(user, study(3)).everything()
            while legs.advance():
                pass
            refused: list[str] = []
            original = Ledger.on_outcome

            def steered(book: Ledger, item: Any, outcome: Any) -> None:
                try:
                    steering.give_up(Delivery.objects.get(), actor=administrator, reason="now")
                except WrongState as error:
                    refused.append(error.code)
                original(book, item, outcome)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Ledger, "on_outcome", steered)
                legs.relay()
        assert refused == ["busy"] * 3
        assert answers(Delivery.objects.get()) == [Answer.STORED] * 3

    def test_a_destination_that_is_away_is_left_for_one_that_is_there(self, administrator: User, user: User) -> None:
        factories.DestinationFactory.create(name="Gone", url=f"dicom://GONE@127.0.0.1:{free_port()}")
        hand_in = HandIn(user, study(2)).everything()
        work()
        assert hand_in.truth()["deliveries"][0]["state"] == "waiting"
        with scripted_scp() as second:
            steering.redirect(Delivery.objects.get(), to(second, name="There"), actor=administrator, reason="away")
            work()
        assert hand_in.truth()["state"] == "verified"
        assert len(second.received) == 2


def test_what_holds_a_delivery_back_is_in_the_truth() -> None:
    all_day = {"quiet_from": "00:00", "quiet_until": "23:59:59.999999"}
    rows = [
        delivery(D.PENDING, destination__paused=True, destination__paused_because="Paused by admin."),
        delivery(D.WAITING, destination=factories.DestinationFactory.create(**all_day)),
        delivery(D.WAITING, destination=factories.DestinationFactory.create(**all_day), urgency=0),
        delivery(D.SENDING, destination__paused=True),
    ]
    told = [truth(Upload.objects.get(pk=row.upload_id))["deliveries"][0]["held_back"] for row in rows]
    assert told[0] == {"code": "paused", "detail": "Paused by admin."}
    assert told[1]["code"] == "quiet"
    assert "until 23:59 UTC" in told[1]["detail"]
    assert told[2:] == [None, None]


class TestAskingAgain:
    def test_a_study_that_rests_without_proof_is_asked_about_anew(self, administrator: User, user: User) -> None:
        with scripted_scp() as pacs:
            destination = to(pacs, proof_wanted="none")
            hand_in = HandIn(user, study(2)).everything()
            work()
            assert hand_in.truth()["state"] == "delivered"
            Destination.objects.filter(pk=destination.pk).update(proof_wanted="query")
            steering.ask_again(Delivery.objects.get(), administrator)
            work()
        assert hand_in.truth()["state"] == "verified"
        assert hand_in.upload.transitions.filter(because="asked_again", actor=administrator).count() == 1

    def test_one_that_is_asked_about_already_is_left_alone(self, administrator: User) -> None:
        row = factories.DeliveryFactory.create(state=D.STORED, study__upload__state=U.DELIVERED)
        with pytest.raises(WrongState):
            steering.ask_again(row, administrator)
