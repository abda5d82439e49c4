"""`manage.py add_user`: a person or a program that may sign in, and one role."""

import getpass
import secrets
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from accounts.models import Role, User
from accounts.people import Enrolled, enrol


class Command(BaseCommand):
    help = "Creates or updates a user and one membership. The password of a user who exists stays unless one is sent."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the name to sign in with")
        parser.add_argument("--role", required=True, choices=Role.values)
        parser.add_argument("--clinic", default="", metavar="NAME", help="made if there is none; an admin needs none")
        parser.add_argument("--email", default=None)
        parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")

    def handle(self, *args: Any, **options: Any) -> None:
        password, generated = self._password(options["name"], from_stdin=options["password_stdin"])
        try:
            done = enrol(
                options["name"],
                Role(options["role"]),
                clinic_name=options["clinic"].strip(),
                password=password,
                email=options["email"],
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self._tell(done, Role(options["role"]))
        if generated:
            self.stdout.write(f"Password (shown this once): {password}")

    def _password(self, name: str, *, from_stdin: bool) -> tuple[str | None, bool]:
        """The password to set, if any, and whether it was made here."""
        if from_stdin:
            return _first_line(), False
        if User.objects.filter(username=User.normalize_username(name)).exists():
            return None, False
        typed = _asked() if sys.stdin.isatty() else ""
        return (typed, False) if typed else (secrets.token_urlsafe(15), True)

    def _tell(self, done: Enrolled, role: Role) -> None:
        where = f"at {done.clinic}" if done.clinic else "of every clinic"
        if done.new_clinic:
            self.stdout.write(f"There was no clinic {done.clinic}; it was created.")
        self.stdout.write(f"{'Created' if done.new_user else 'Updated'} {done.user}: {role.label.lower()} {where}.")
        if not done.user.is_active:
            self.stdout.write("This user is deactivated and cannot sign in; the administration pages can change that.")


def _first_line() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise CommandError("There is no password on standard input.")
    return password


def _asked() -> str:
    password = getpass.getpass("Password (empty: one is made up): ")
    if password and getpass.getpass("The same again: ") != password:
        raise CommandError("The two passwords differ.")
    return password
