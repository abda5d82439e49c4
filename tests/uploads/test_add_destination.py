"""`add_destination`: the same name again updates it."""

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from relaypacs.sealing import unseal
from tests.certificates import Authority
from tests.factories import DestinationFactory
from uploads.models import Destination

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

URL = "dicom://PACS@pacs.example:104?calling=GATE"


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("add_destination", *words, stdout=out)
    return out.getvalue()


def test_it_makes_a_required_destination() -> None:
    assert run("main", URL) == f"Created main: {URL}, required.\n"
    made = Destination.objects.get()
    assert (made.name, made.url, made.required, made.active) == ("main", URL, True, True)


def test_the_same_name_updates_it_and_tries_the_new_address_afresh() -> None:
    DestinationFactory.create(name="main", down_since=timezone.now(), last_error="no route")
    assert run("main", URL, "--optional") == f"Updated main: {URL}, optional.\n"
    made = Destination.objects.get()
    assert (made.url, made.required, made.down_since, made.last_error) == (URL, False, None, "")


def test_the_same_address_again_changes_nothing_that_was_learned() -> None:
    before = DestinationFactory.create(name="main", url=URL, down_since=timezone.now(), last_error="no route")
    run("main", URL)
    after = Destination.objects.get()
    assert (after.down_since, after.last_error) == (before.down_since, "no route")


def test_it_says_what_still_stops_it() -> None:
    DestinationFactory.create(name="main", paused=True, active=False)
    said = run("main", URL)
    assert "It is paused" in said
    assert "It is not active" in said


@pytest.mark.parametrize(
    ("name", "url", "sentence"),
    [
        ("main", "pacs.example", "begins with none of dicom, dicoms, http, https"),
        ("main", "dicom://pacs.example:104", "AE title of the PACS is missing"),
        ("", URL, "blank"),
        ("x" * 121, URL, "at most 120"),
    ],
)
def test_it_refuses_with_a_sentence_and_makes_nothing(name: str, url: str, sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        run(name, url)
    assert not Destination.objects.exists()


WEB = "https://pacs.example/dicom-web"


def test_what_is_not_given_stays_as_it_was() -> None:
    run("main", URL, "--optional", "--relay-early", "--proof", "query", "--max-associations", "2")
    run("main", URL, "--transcode", "--query-url", "dicom://FIND@pacs.example:105")
    made = Destination.objects.get()
    assert (made.required, made.relay_early, made.proof_wanted, made.max_associations) == (False, True, "query", 2)
    assert (made.transcode, made.deidentified, made.query_url) == (True, False, "dicom://FIND@pacs.example:105")
    run("main", URL, "--required", "--no-relay-early", "--deidentified")
    made.refresh_from_db()
    assert (made.required, made.relay_early, made.transcode, made.deidentified) == (True, False, True, True)


def test_it_takes_every_scheme_of_the_contract() -> None:
    for name, url in [("a", "dicoms://PACS@pacs.example:2762"), ("b", WEB), ("c", "http://pacs.example/dicom-web")]:
        assert run(name, url) == f"Created {name}: {url}, required.\n"


def test_the_secret_comes_from_the_environment_and_is_told_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAYPACS_DESTINATION_SECRET", "s3cret")
    assert "s3cret" not in run("main", WEB, "--auth-user", "relay")
    made = Destination.objects.get()
    assert (made.auth, made.auth_user, unseal(made.auth_secret)) == ("basic", "relay", "s3cret")
    sealed = made.auth_secret
    run("main", WEB)
    made.refresh_from_db()
    assert (made.auth, made.auth_secret) == ("basic", sealed)
    run("other", WEB)
    other = Destination.objects.get(name="other")
    assert (other.auth, unseal(other.auth_secret)) == ("bearer", "s3cret")


def test_certificates_and_key_are_read_from_files(tmp_path: Path) -> None:
    authority = Authority()
    ours = authority.issue(subject="relaypacs")
    certificate, key = ours.files(tmp_path)
    (tmp_path / "ca.pem").write_text(authority.pem)
    words = ["--ca", str(tmp_path / "ca.pem"), "--certificate", str(certificate), "--key", str(key)]
    run("main", "dicoms://PACS@pacs.example:2762", *words, "--server-name", "pacs.internal")
    made = Destination.objects.get()
    assert (made.tls_ca, made.tls_certificate, unseal(made.tls_key)) == (authority.pem, ours.pem, ours.key)
    assert made.tls_server_name == "pacs.internal"
    assert made.certificates_end_at == ours.certificate.not_valid_after_utc


def test_what_cannot_work_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    certificate, _ = Authority().issue(subject="relaypacs").files(tmp_path)
    for words, sentence in [
        (["--certificate", str(certificate)], "no private key that belongs to it"),
        (["--ca", str(tmp_path / "nowhere")], "cannot be read as PEM"),
        (["--query-url", "pacs"], "begins with none of"),
        (["--proof", "faith"], "invalid choice"),
        (["--max-associations", "-1"], "greater than or equal to 0"),
    ]:
        with pytest.raises(CommandError, match=sentence):
            run("main", URL, *words)
    assert not Destination.objects.exists()
