"""What travels through `/api/v1/auth/`."""

from typing import Any

from rest_framework import serializers

from accounts.models import Membership, Role, User
from accounts.signin import LONGEST_PASSWORD, has_second_factor
from accounts.tokens import Pair


class LoginSerializer(serializers.Serializer[Any]):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(
        max_length=LONGEST_PASSWORD, trim_whitespace=False, style={"input_type": "password"}
    )
    otp = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=64, help_text="The code of a second factor."
    )


class RefreshTokenSerializer(serializers.Serializer[Any]):
    refresh_token = serializers.CharField(max_length=4096)


class PairSerializer(serializers.Serializer[Pair]):
    access_token = serializers.CharField(source="access")
    refresh_token = serializers.CharField(source="refresh", help_text="Good for one refresh.")
    token_type = serializers.ChoiceField(choices=["bearer"], default="bearer")
    expires_in = serializers.IntegerField(help_text="Seconds that the access token lives.")


class MembershipSerializer(serializers.ModelSerializer[Membership]):
    clinic = serializers.UUIDField(source="clinic_id", allow_null=True, help_text="Null: every clinic.")
    clinic_name = serializers.CharField(source="clinic.name", allow_null=True, default=None)
    role = serializers.ChoiceField(choices=Role.choices)

    class Meta:
        model = Membership
        fields = ["clinic", "clinic_name", "role"]


class MeSerializer(serializers.ModelSerializer[User]):
    memberships = MembershipSerializer(many=True)
    two_factor = serializers.SerializerMethodField(help_text="Whether signing in asks for a code.")

    class Meta:
        model = User
        fields = ["id", "username", "memberships", "two_factor"]

    def get_two_factor(self, user: User) -> bool:
        return has_second_factor(user)
