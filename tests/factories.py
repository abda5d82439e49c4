"""Rows for tests: people, clinics, uploads and what hangs on them, each whole by itself."""

import hashlib
from datetime import timedelta
from typing import Any, cast

import factory
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.models import Clinic, Membership, Role, User
from uploads.models import (
    Answer,
    Chunk,
    Delivery,
    Destination,
    Hold,
    Instance,
    LedgerEntry,
    Receipt,
    Study,
    Transition,
    Upload,
    UploadFile,
)
from uploads.states import DeliveryState, UploadState

PASSWORD = "a long enough password"
UID_ROOT = "2.25.73"
MIB = 1024**2


class ClinicFactory(factory.django.DjangoModelFactory[Clinic]):
    class Meta:
        model = Clinic

    name = factory.Sequence(lambda n: f"Clinic {n}")


class UserFactory(factory.django.DjangoModelFactory[User]):
    """A person without any role; the password is PASSWORD."""

    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"person{n}")

    @classmethod
    def _create(cls, model_class: type[User], *args: Any, **kwargs: Any) -> User:
        return model_class.objects.create_user(*args, **{"password": PASSWORD, **kwargs})


class MembershipFactory(factory.django.DjangoModelFactory[Membership]):
    class Meta:
        model = Membership

    user = factory.SubFactory(UserFactory)
    clinic = factory.SubFactory(ClinicFactory)
    role = Role.CLINICIAN


def person(role: Role, clinic: Clinic | None = None, **fields: Any) -> User:
    """A user with this role: at `clinic`, or at a new one; an administrator of all clinics where none is given."""
    if role == Role.ADMIN:
        user = UserFactory.create(is_staff=True, is_superuser=True, **fields)
    else:
        user = UserFactory.create(**fields)
        clinic = clinic or ClinicFactory.create()
    MembershipFactory.create(user=user, clinic=clinic, role=role)
    return user


class TOTPDeviceFactory(factory.django.DjangoModelFactory[TOTPDevice]):
    """A confirmed second factor; `tests.factories.code_of` tells its code."""

    class Meta:
        model = TOTPDevice

    user = factory.SubFactory(UserFactory)
    name = "phone"
    confirmed = True


class UploadFactory(factory.django.DjangoModelFactory[Upload]):
    """An upload of one chunk, `receiving`; its person is a clinician of its clinic. The pack is not made."""

    class Meta:
        model = Upload

    clinic = factory.SubFactory(ClinicFactory)
    state = UploadState.RECEIVING
    total_size = 1000
    chunk_size = 8 * MIB
    chunk_count = factory.LazyAttribute(lambda upload: -(-upload.total_size // upload.chunk_size))
    file_count = 1
    manifest_sha256 = factory.Sequence(lambda n: sha256_of(f"manifest {n}"))
    expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(hours=24))

    @factory.lazy_attribute
    def created_by(self) -> User:
        return person(Role.CLINICIAN, cast(Clinic, self.clinic))


class UploadFileFactory(factory.django.DjangoModelFactory[UploadFile]):
    class Meta:
        model = UploadFile

    upload = factory.SubFactory(UploadFactory)
    index = factory.LazyAttribute(lambda file: file.upload.files.count())
    name = factory.LazyAttribute(lambda file: f"IM{file.index}")
    offset = 0
    size = 1000


class ChunkFactory(factory.django.DjangoModelFactory[Chunk]):
    class Meta:
        model = Chunk

    upload = factory.SubFactory(UploadFactory)
    index = 0
    sha256 = factory.LazyAttribute(lambda chunk: sha256_of(f"chunk {chunk.index}"))
    boot_id = "boot"


class StudyFactory(factory.django.DjangoModelFactory[Study]):
    class Meta:
        model = Study

    upload = factory.SubFactory(UploadFactory)
    study_instance_uid = factory.Sequence(lambda n: f"{UID_ROOT}.1.{n}")
    patient_id = factory.Sequence(lambda n: f"TEST{n}")
    patient_name = "Test^Patient"
    birth_date = "19700101"
    sex = "O"
    study_date = "20260102"
    description = "CT of a phantom"
    modalities = ["CT"]
    series_count = 1
    instance_count = 1

    @factory.lazy_attribute
    def search_text(self) -> str:
        parts = [self.patient_name.replace("^", " "), self.patient_id, self.study_instance_uid, self.description]
        return " ".join(str(part) for part in parts).lower()


class InstanceFactory(factory.django.DjangoModelFactory[Instance]):
    class Meta:
        model = Instance

    upload = factory.SelfAttribute("study.upload")
    study = factory.SubFactory(StudyFactory)
    file = factory.SubFactory(UploadFileFactory, upload=factory.SelfAttribute("..upload"))
    file_index = factory.SelfAttribute("file.index")
    sop_class_uid = "1.2.840.10008.5.1.4.1.1.2"
    sop_instance_uid = factory.Sequence(lambda n: f"{UID_ROOT}.3.{n}")
    series_instance_uid = factory.LazyAttribute(lambda instance: f"{instance.study.study_instance_uid}.2")
    transfer_syntax_uid = "1.2.840.10008.1.2.1"
    modality = "CT"
    dataset_offset = 0
    dataset_size = 800
    dataset_sha256 = factory.LazyAttribute(lambda instance: sha256_of(instance.sop_instance_uid))


class DestinationFactory(factory.django.DjangoModelFactory[Destination]):
    """A PACS at an address where nobody listens."""

    class Meta:
        model = Destination

    name = factory.Sequence(lambda n: f"PACS {n}")
    url = "dicom://PACS@127.0.0.1:9"


class DeliveryFactory(factory.django.DjangoModelFactory[Delivery]):
    class Meta:
        model = Delivery

    upload = factory.SelfAttribute("study.upload")
    study = factory.SubFactory(StudyFactory, upload__state=UploadState.DELIVERING)
    destination = factory.SubFactory(DestinationFactory)
    destination_name = factory.SelfAttribute("destination.name")
    required = factory.SelfAttribute("destination.required")
    state = DeliveryState.PENDING
    due_at = factory.LazyFunction(timezone.now)


class LedgerEntryFactory(factory.django.DjangoModelFactory[LedgerEntry]):
    class Meta:
        model = LedgerEntry

    delivery = factory.SubFactory(DeliveryFactory)
    instance = factory.SubFactory(InstanceFactory, study=factory.SelfAttribute("..delivery.study"))
    answer = Answer.UNSENT


class HoldFactory(factory.django.DjangoModelFactory[Hold]):
    class Meta:
        model = Hold

    upload = factory.SubFactory(UploadFactory, state=UploadState.HELD)
    code = "bad_files"
    detail = "Some files cannot be used."


class TransitionFactory(factory.django.DjangoModelFactory[Transition]):
    class Meta:
        model = Transition

    upload = factory.SubFactory(UploadFactory)
    from_state = ""
    to_state = factory.SelfAttribute("upload.state")


class ReceiptFactory(factory.django.DjangoModelFactory[Receipt]):
    class Meta:
        model = Receipt

    upload = factory.SubFactory(UploadFactory, state=UploadState.DELIVERED)
    for_state = factory.SelfAttribute("upload.state")


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def code_of(device: TOTPDevice, *, steps_ahead: int = 0) -> str:
    """What the person's phone shows now, or some steps of 30 s from now."""
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift + steps_ahead)
    return f"{totp.token():0{device.digits}d}"
