"""What the pages take from people: filters, decisions, and whole files where the browser runs no script."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet

from accounts.models import Clinic, User
from uploads.pipeline.intake import UPLOADING_ROLES
from uploads.states import ServiceLevel, UploadState

LONGEST_HISTORY = 4000  # characters

# Above the single states of the list's filter: what a person looks for in the morning.
GROUPS = (
    ("", "All"),
    ("receiving,assembling,validating,delivering", "Under way"),
    ("held,failed", "Waiting for a person"),
)


def clinics_of(user: User) -> QuerySet[Clinic]:
    """The clinics this person may hand in for."""
    clinics = Clinic.objects.filter(active=True)
    if user.is_administrator:
        return clinics
    return clinics.filter(pk__in=user.clinics_as(*UPLOADING_ROLES))


class ListFilter(forms.Form):
    """State and words; both stand in the address, so that a view of the list can be kept and sent."""

    state = forms.ChoiceField(required=False, label="State", choices=[*GROUPS, *UploadState.choices])
    q = forms.CharField(
        required=False,
        label="Search",
        max_length=200,
        widget=forms.TextInput(
            attrs={"type": "search", "placeholder": "Patient, ID, accession, study", "autocomplete": "off"}
        ),
    )


class ManyFilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class ManyFilesField(forms.FileField):
    """One or more files."""

    widget = ManyFilesInput

    def clean(self, data: Any, initial: Any = None) -> Sequence[UploadedFile]:
        files = data if isinstance(data, list | tuple) else [data]
        return [file for file in (super(ManyFilesField, self).clean(one, initial) for one in files) if file]


class PlainForm(forms.Form):
    """One study, as files, without script."""

    images = ManyFilesField(
        label="Files of one study", allow_empty_file=True, help_text="Choose all images of one study of one patient."
    )
    clinic = forms.ModelChoiceField(queryset=Clinic.objects.none(), label="Clinic")
    service_level = forms.ChoiceField(
        label="Service level", choices=ServiceLevel.choices, initial=ServiceLevel.ROUTINE, widget=forms.RadioSelect
    )
    clinical_history = forms.CharField(
        label="Clinical history", required=False, max_length=LONGEST_HISTORY, widget=forms.Textarea(attrs={"rows": 4})
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        clinics = clinics_of(user)
        field = self.fields["clinic"]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = clinics
        only = clinics[:2]
        if len(only) == 1:
            field.initial = only[0]
            field.widget = forms.HiddenInput()
