"""Form fields for what destinations are told: secrets that are typed and never shown, lists, and DICOM keywords."""

import json
import re
from collections.abc import Sequence
from typing import Any

from django import forms


class UnshownText(forms.Textarea):
    """A text area that never shows what it holds, not even what was typed a moment ago."""

    def __init__(self, rows: int = 4) -> None:
        super().__init__(attrs={"rows": rows, "cols": 70, "autocomplete": "off", "spellcheck": "false"})

    def format_value(self, value: Any) -> str:
        return ""


class SecretField(forms.CharField):
    """A password or token, on one line: empty keeps the stored one."""

    def __init__(self, *, label: str) -> None:
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password", "size": 40})
        super().__init__(label=label, required=False, strip=False, widget=widget, max_length=4000)


class KeyField(forms.CharField):
    """A private key in PEM: empty keeps the stored one."""

    def __init__(self, *, label: str, help_text: str) -> None:
        super().__init__(label=label, required=False, help_text=help_text, widget=UnshownText(), max_length=32_000)


class ListField(forms.JSONField):
    """A list of the contract's own shape, as JSON; an empty field is an empty list."""

    widget = forms.Textarea

    def __init__(self, *, label: str, help_text: str, rows: int = 5) -> None:
        widget = forms.Textarea(attrs={"rows": rows, "cols": 70, "spellcheck": "false", "class": "json"})
        super().__init__(label=label, required=False, help_text=help_text, widget=widget)

    def clean(self, value: Any) -> Any:
        read = super().clean(value)
        if read in (None, ""):
            return []
        if not isinstance(read, list):
            raise forms.ValidationError("This is no list: it begins with [ and ends with ].", code="no_list")
        return read

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, list):
            return json.dumps(value, indent=2, ensure_ascii=False) if value else ""
        return super().prepare_value(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(initial or None, data)


class KeywordsField(forms.CharField):
    """DICOM keywords with commas between, kept as a list."""

    def __init__(self, *, label: str, help_text: str) -> None:
        widget = forms.TextInput(attrs={"size": 70, "spellcheck": "false"})
        super().__init__(label=label, required=False, help_text=help_text, widget=widget, max_length=2000)

    def clean(self, value: Any) -> Any:
        words = re.split(r"[\s,;]+", super().clean(value))
        return [word for word in dict.fromkeys(words) if word]

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, Sequence) and not isinstance(value, str) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial or []), data)
