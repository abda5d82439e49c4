"""What was found in an upload: studies, each of one patient, and their instances as spans of the pack."""

from typing import TYPE_CHECKING

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import models

from uploads.models.upload import Upload, UploadFile

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager


class Study(models.Model):
    """One StudyInstanceUID of one patient, as the headers of its instances have it."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="studies")
    study_instance_uid = models.CharField(max_length=64)
    patient_id = models.CharField(max_length=80, default="", blank=True)
    issuer = models.CharField(max_length=80, default="", blank=True)
    patient_name = models.CharField(max_length=400, default="", blank=True)
    birth_date = models.CharField(max_length=16, default="", blank=True)
    sex = models.CharField(max_length=16, default="", blank=True)
    study_date = models.CharField(max_length=16, default="", blank=True)
    description = models.CharField(max_length=200, default="", blank=True)
    accession_number = models.CharField(max_length=80, default="", blank=True)
    modalities = ArrayField(models.CharField(max_length=16), default=list)
    series_count = models.IntegerField(default=0)
    instance_count = models.IntegerField(default=0)
    search_text = models.TextField(
        default="", blank=True, help_text="Name, id, accession, UID, description; lower case."
    )

    if TYPE_CHECKING:
        instances: RelatedManager["Instance"]

    class Meta:
        verbose_name_plural = "studies"
        ordering = ["study_instance_uid"]
        constraints = [
            models.UniqueConstraint(fields=["upload", "study_instance_uid"], name="study_once_per_upload"),
        ]
        indexes = [
            # "was this study handed in before?"
            models.Index(fields=["study_instance_uid"], name="study_uid"),
            # the search box
            GinIndex(SearchVector("search_text", config="simple"), name="study_search"),
        ]

    def __str__(self) -> str:
        return f"study {self.pk}"


class Instance(models.Model):
    """One SOP instance: where its data set lies in the pack, and its digest. Outlives the bytes (rule S3)."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="instances")
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="instances")
    file = models.OneToOneField(UploadFile, on_delete=models.CASCADE, related_name="instance")
    file_index = models.IntegerField()
    sop_class_uid = models.CharField(max_length=64)
    sop_instance_uid = models.CharField(max_length=64)
    series_instance_uid = models.CharField(max_length=64)
    transfer_syntax_uid = models.CharField(max_length=64)
    modality = models.CharField(max_length=16, default="", blank=True)
    dataset_offset = models.BigIntegerField(help_text="Bytes from the start of the pack.")
    dataset_size = models.BigIntegerField()
    dataset_sha256 = models.CharField(max_length=64)
    burned_in = models.BooleanField(
        default=False, db_default=False, help_text="A name may stand in its pixels (rule S13)."
    )
    missing_tags = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        blank=True,
        help_text="Keywords that some destination required when it was checked, and that it has not filled (rule S14).",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["upload", "sop_instance_uid"], name="instance_once_per_upload"),
        ]
        indexes = [
            # "was this SOPInstanceUID seen before, with other bytes or in another study?"
            models.Index(fields=["sop_instance_uid"], name="instance_sop_uid"),
            models.Index(fields=["series_instance_uid"], name="instance_series_uid"),
        ]

    def __str__(self) -> str:
        return f"instance {self.pk}"
