"""The shapes of the API: what may be sent, and what is answered."""

from typing import Any

from rest_framework import serializers

from uploads.states import DeliveryState, ServiceLevel, UploadState


class DeclaredFileSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(trim_whitespace=False)
    size = serializers.IntegerField(min_value=0, max_value=2**62)
    sha256 = serializers.CharField(required=False, allow_null=True, allow_blank=True)


class ExpectedPatientSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(required=False, allow_blank=True, max_length=200)
    name = serializers.CharField(required=False, allow_blank=True, max_length=400)
    birth_date = serializers.CharField(required=False, allow_blank=True, max_length=20)


class DeclaredInstanceSerializer(serializers.Serializer[Any]):
    sop_instance_uid = serializers.CharField(max_length=64)
    file = serializers.IntegerField(required=False, min_value=0)
    dataset_sha256 = serializers.CharField(required=False, allow_null=True, allow_blank=True)


class DeclaredStudySerializer(serializers.Serializer[Any]):
    study_instance_uid = serializers.CharField(max_length=64)
    instances = DeclaredInstanceSerializer(many=True, required=False)


class OpenUploadSerializer(serializers.Serializer[Any]):
    """The manifest. Sizes in bytes."""

    files = DeclaredFileSerializer(many=True)
    chunk_size = serializers.IntegerField(required=False, allow_null=True)
    clinic = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, help_text="A clinic's id or name."
    )
    service_level = serializers.ChoiceField(choices=ServiceLevel.choices, required=False)
    clinical_history = serializers.CharField(required=False, allow_blank=True, max_length=20_000)
    expected_patient = ExpectedPatientSerializer(required=False, allow_null=True)
    studies = DeclaredStudySerializer(many=True, required=False)
    allow_duplicate = serializers.BooleanField(required=False)


class FileDigestSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField(min_value=0)
    sha256 = serializers.CharField(max_length=64)


class CompleteSerializer(serializers.Serializer[Any]):
    files = FileDigestSerializer(many=True, required=False)


class ConfirmSerializer(serializers.Serializer[Any]):
    hold = serializers.UUIDField()
    decision = serializers.ChoiceField(choices=["proceed", "exclude", "reject"])
    reason = serializers.CharField(required=False, allow_blank=True, max_length=2000)
    files = serializers.ListField(required=False, help_text="For exclude: file indices or names.")


class OpenedSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=UploadState.choices)
    total_size = serializers.IntegerField()
    chunk_size = serializers.IntegerField()
    chunk_count = serializers.IntegerField()
    expires_at = serializers.DateTimeField()


class ProgressSerializer(serializers.Serializer[Any]):
    received_bytes = serializers.IntegerField()
    total_size = serializers.IntegerField()
    missing = serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))


class PatientSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    birth_date = serializers.CharField()
    sex = serializers.CharField()


class StudySerializer(serializers.Serializer[Any]):
    study_instance_uid = serializers.CharField()
    patient = PatientSerializer()
    study_date = serializers.CharField()
    description = serializers.CharField()
    accession_number = serializers.CharField()
    modalities = serializers.ListField(child=serializers.CharField())
    series = serializers.IntegerField()
    instances = serializers.IntegerField()


class HoldSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    code = serializers.CharField()
    detail = serializers.CharField()
    study_instance_uid = serializers.CharField(allow_null=True)
    files = serializers.ListField(child=serializers.IntegerField())
    choices = serializers.ListField(child=serializers.CharField())


class ErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()


class NoteSerializer(serializers.Serializer[Any]):
    """What a reader must know of a delivery: what was left out, decoded, given up or sent elsewhere."""

    code = serializers.CharField()
    detail = serializers.CharField()
    instances = serializers.IntegerField()


class DeliverySerializer(serializers.Serializer[Any]):
    destination = serializers.CharField()
    required = serializers.BooleanField()  # type: ignore[assignment]  # the contract's word, and Field's too
    study_instance_uid = serializers.CharField()
    state = serializers.ChoiceField(choices=DeliveryState.choices)
    instances = serializers.IntegerField()
    stored = serializers.IntegerField()
    changed = serializers.IntegerField()
    verified = serializers.IntegerField()
    refused = serializers.IntegerField()
    skipped = serializers.IntegerField(help_text="Left out, as the destination allows.")
    proof = serializers.ChoiceField(choices=["none", "query", "commitment"])
    proof_detail = serializers.CharField(help_text="What was asked, and how, in words.")
    notes = NoteSerializer(many=True)
    held_back = ErrorSerializer(allow_null=True, help_text="Why nothing is sent there just now: paused | quiet.")
    redirected_to = serializers.CharField(allow_null=True, help_text="The destination that it was sent to instead.")
    attempts = serializers.IntegerField()
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    last_error = ErrorSerializer(allow_null=True)


class SummarySerializer(serializers.Serializer[Any]):
    """The part of the truth that a list shows."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=UploadState.choices)
    service_level = serializers.ChoiceField(choices=ServiceLevel.choices)
    clinic = serializers.UUIDField()
    clinic_name = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)
    verified_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    total_size = serializers.IntegerField()
    chunk_size = serializers.IntegerField()
    chunk_count = serializers.IntegerField()
    expires_at = serializers.DateTimeField()
    progress = ProgressSerializer()
    studies = StudySerializer(many=True)
    holds = HoldSerializer(many=True)
    deliveries = DeliverySerializer(many=True)


class FileCountsSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    dicom = serializers.IntegerField()
    ignored = serializers.IntegerField()
    rejected = serializers.IntegerField()


class FileProblemSerializer(serializers.Serializer[Any]):
    file = serializers.CharField(allow_null=True)
    index = serializers.IntegerField(required=False)
    code = serializers.CharField()
    detail = serializers.CharField()
    effect = serializers.ChoiceField(choices=["ignored", "held", "rejected"])


class ReportSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    state = serializers.CharField()
    study_instance_uid = serializers.CharField()


class TruthSerializer(SummarySerializer):
    """The truth about an upload."""

    clinical_history = serializers.CharField()
    expected_patient = ExpectedPatientSerializer(allow_null=True)
    files = FileCountsSerializer()
    problems = FileProblemSerializer(many=True)
    reports = ReportSerializer(many=True)


class UploadPageSerializer(serializers.Serializer[Any]):
    results = SummarySerializer(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class FileSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField()
    name = serializers.CharField()
    offset = serializers.IntegerField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField(allow_null=True)
    status = serializers.CharField()
    problem = ErrorSerializer(allow_null=True)


class FilesPageSerializer(serializers.Serializer[Any]):
    results = FileSerializer(many=True)
    next = serializers.CharField(allow_null=True)
