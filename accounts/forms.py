"""The forms of signing in."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from accounts.models import User
from accounts.signin import LONGEST_PASSWORD, SignInRefused, sign_in


class CodeInput(forms.TextInput):
    """A code is good once: a page that comes back does not repeat it."""

    def format_value(self, value: Any) -> None:
        return None


def _code_field() -> forms.CharField:
    return forms.CharField(
        label="Code",
        max_length=64,
        required=False,
        help_text="From your authenticator app, or one of your backup codes.",
        widget=CodeInput(attrs={"autocomplete": "one-time-code", "required": True}),
    )


class SignInForm(AuthenticationForm):
    """Name and password; the code of a second factor is asked for only where there is one."""

    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=LONGEST_PASSWORD,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, request: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        if "otp" in self.data:
            self._ask_for_code()

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        sent = self.cleaned_data
        if sent.get("username") is None or not sent.get("password"):
            return sent
        try:
            user = sign_in(self.request or HttpRequest(), sent["username"], sent["password"], sent.get("otp", ""))
            self.confirm_login_allowed(user)
            self.user_cache = user
        except SignInRefused as refused:
            self._refuse(refused)
        return sent

    def _refuse(self, refused: SignInRefused) -> None:
        if refused.code in ("otp_required", "otp_invalid"):
            self._ask_for_code()
            self.add_error("otp", ValidationError(refused.detail, code=refused.code))
        else:
            self.add_error(None, ValidationError(refused.detail, code=refused.code))

    def _ask_for_code(self) -> None:
        self.fields["otp"] = _code_field()
        self.fields["username"].widget.attrs.pop("autofocus", None)


class AdministratorSignInForm(SignInForm):
    """The same door, for the administration."""

    def confirm_login_allowed(self, user: User) -> None:
        if not user.is_staff:
            raise ValidationError("The administration is open to administrators only.", code="not_administrator")
