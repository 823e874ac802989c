"""Whom a process trusts once the embedded S3 runs: that one beside all whom it trusted before."""

import os
import ssl
from pathlib import Path

import pytest

from resources.servers.certificates import make_identity, trust


@pytest.fixture
def no_bundles(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, "")
    return monkeypatch


def authority(folder: Path, name: str) -> Path:
    file = folder / f"{name}.pem"
    file.write_text(make_identity(name).authority)
    return file


def trusted_of(bundle: Path) -> set[str]:
    """The names of those in a bundle that this file made."""
    names = {
        str(dict(part[0] for part in found["subject"])) for found in ssl.create_default_context(cafile=bundle).get_ca_certs()
    }
    return {word for name in names for word in name.split("'") if " authority " in word}


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_private_authority_of_the_user_stays_trusted(
    tmp_path: Path, no_bundles: pytest.MonkeyPatch, variable: str
) -> None:
    """Of an S3 of theirs, from which photos are imported; boto3 and requests each have a variable of their own."""
    theirs, ours, bundle = authority(tmp_path, "theirs"), authority(tmp_path, "ours"), tmp_path / "bundle.pem"
    no_bundles.setenv(variable, str(theirs))
    for _ in range(2):
        trust(ours, bundle)
        assert sorted(name.split()[0] for name in trusted_of(bundle)) == ["ours", "theirs"]
    assert os.environ["SSL_CERT_FILE"] == os.environ["AWS_CA_BUNDLE"] == str(bundle)


def test_comments_in_any_encoding_and_files_of_others_do_no_harm(tmp_path: Path, no_bundles: pytest.MonkeyPatch) -> None:
    theirs, ours, bundle = authority(tmp_path, "theirs"), authority(tmp_path, "ours"), tmp_path / "bundle.pem"
    theirs.write_bytes("# Gesellschaft für Zertifikate\n".encode("latin-1") + theirs.read_bytes())
    no_bundles.setenv("SSL_CERT_FILE", str(theirs))
    no_bundles.setenv("AWS_CA_BUNDLE", str(tmp_path))  # a folder
    trust(ours, bundle)
    assert sorted(name.split()[0] for name in trusted_of(bundle)) == ["ours", "theirs"]
