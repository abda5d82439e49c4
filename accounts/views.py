"""The door for people: sign in, sign out, change the password."""

from django.contrib.auth import views
from django.urls import reverse_lazy

from accounts.forms import SignInForm


class LoginView(views.LoginView):
    """Open to all; sends on to where the person was going, on this site only."""

    template_name = "accounts/login.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True


class LogoutView(views.LogoutView):
    """By POST only: a link on another site must not sign anybody out."""


class PasswordChangeView(views.PasswordChangeView):
    """Ends every other session, and every token, of this person: each carries a hash of the old password."""

    template_name = "accounts/password_change.html"
    success_url = reverse_lazy("accounts:password_change_done")


class PasswordChangeDoneView(views.PasswordChangeDoneView):
    template_name = "accounts/password_change_done.html"
