"""The form of a destination: every field checked in words a person can act on, every secret sealed and never shown."""

from typing import TYPE_CHECKING, Any

from django import forms

from relaypacs.sealing import seal
from uploads.admin.fields import KeyField, KeywordsField, ListField, SecretField
from uploads.models import Destination, Route
from uploads.pipeline import vetting

if TYPE_CHECKING:
    DestinationModelForm = forms.ModelForm[Destination]
    RouteModelForm = forms.ModelForm[Route]
else:
    DestinationModelForm = RouteModelForm = forms.ModelForm

PEM_ROWS = {"rows": 4, "cols": 70, "spellcheck": "false", "class": "pem"}
RULES_HELP = (
    "Answers that mean something else at this PACS: a JSON list, of which the first row that holds a status decides. "
    "An action is retry, give_up, stored_with_warning, pause or ask. Example: "
    '[{"status": "C000-CFFF", "action": "retry", "attempts": 5, "note": "Its store is restarted at night."}]'
)
CLASSES_HELP = (
    "Classes that may be left out, with a note, where it refuses them: a JSON list of UIDs, or of structured_report, "
    "dose_report, key_object, presentation_state, secondary_capture, encapsulated_document, waveform, raw_data, "
    'private. Example: [{"sop_class": "dose_report", "note": "Dose is kept elsewhere."}]'
)
FIELD_OF = {"auth_secret": "new_secret", "tls_key": "new_key"}


class DestinationForm(DestinationModelForm):
    new_secret = SecretField(label="Password or token")
    clear_secret = forms.BooleanField(label="Forget the stored password or token", required=False)
    new_key = KeyField(label="Our private key", help_text="PEM, without a passphrase.")
    clear_key = forms.BooleanField(label="Forget the stored private key", required=False)
    outcome_rules = ListField(label="Outcome rules", help_text=RULES_HELP)
    optional_classes = ListField(label="Optional classes", help_text=CLASSES_HELP, rows=3)
    required_tags = KeywordsField(
        label="Required attributes",
        help_text="Keywords with commas between, as in AccessionNumber, PatientBirthDate: every study must have them.",
    )

    class Meta:
        model = Destination
        fields = (
            "name",
            "url",
            "active",
            "required",
            "max_associations",
            "auth",
            "auth_user",
            "tls_ca",
            "tls_certificate",
            "tls_server_name",
            "proof_wanted",
            "query_url",
            "fetch_sample",
            "fetch_by",
            "outcome_rules",
            "optional_classes",
            "required_tags",
            "transcode",
            "deidentified",
            "relay_early",
            "quiet_from",
            "quiet_until",
            "quiet_zone",
        )
        widgets = {
            "url": forms.TextInput(attrs={"size": 60, "spellcheck": "false"}),
            "query_url": forms.TextInput(attrs={"size": 60, "spellcheck": "false"}),
            "tls_ca": forms.Textarea(attrs=PEM_ROWS),
            "tls_certificate": forms.Textarea(attrs=PEM_ROWS),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tell_of("new_secret", stored=bool(self.instance.auth_secret))
        self._tell_of("new_key", stored=bool(self.instance.tls_key))
        self.derived: set[str] = set()

    def _tell_of(self, name: str, *, stored: bool) -> None:
        if name in self.fields:
            kept = "One is stored; leave it empty to keep that." if stored else "None is stored."
            self.fields[name].help_text = f"{kept} {self.fields[name].help_text}".strip()

    @property
    def changed_columns(self) -> set[str]:
        """What of the row this form writes; the fields for secrets are no columns."""
        columns = {field.name for field in Destination._meta.get_fields()}
        return {name for name in self.changed_data if name in columns} | self.derived

    def clean(self) -> dict[str, Any]:
        sent: dict[str, Any] = super().clean() or {}
        if (sent.get("quiet_from") is None) != (sent.get("quiet_until") is None):
            self.add_error("quiet_until", "Quiet hours have a beginning and an end, or neither.")
        return sent

    def _post_clean(self) -> None:
        """Once the row has what was typed, it is vetted as a whole."""
        super()._post_clean()  # type: ignore[misc]  # the stubs leave it out
        self._seal("auth_secret", typed=self.cleaned_data.get("new_secret", ""), clear="clear_secret")
        self._seal("tls_key", typed=self.cleaned_data.get("new_key", ""), clear="clear_key")
        before = self.instance.certificates_end_at
        try:
            vetting.vet(self.instance)
        except forms.ValidationError as error:
            for column, found in error.error_dict.items():
                self._complain(FIELD_OF.get(column, column), found)
        if self.instance.certificates_end_at != before:
            self.derived.add("certificates_end_at")

    def _complain(self, field: str, found: list[forms.ValidationError]) -> None:
        if field in self.fields and field not in self.errors:  # one that is wrong in itself has been told
            self.add_error(field, found)

    def _seal(self, column: str, *, typed: str, clear: str) -> None:
        if typed or self.cleaned_data.get(clear):
            setattr(self.instance, column, seal(typed))
            self.derived.add(column)


class RouteForm(RouteModelForm):
    class Meta:
        model = Route
        fields = ("clinic", "modality", "service_level", "sop_class_uid", "required")

    def clean_modality(self) -> str:
        modality: str = self.cleaned_data["modality"]
        return modality.strip().upper()

    def clean_sop_class_uid(self) -> str:
        uid: str = self.cleaned_data["sop_class_uid"].strip()
        if uid:
            vetting.check_uid(uid)
        return uid
