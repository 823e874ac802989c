"""The servers that the pages call yours: a company's database and bucket, and those of a move."""

import shlex
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from psycopg2 import sql

from resources.servers.endpoints import Endpoints

SHOP = """
create schema shop;
create table shop.accounts (id bigint, created timestamptz, nick text, fans int);
create table shop.pictures (id bigint, account_id bigint, storage_key text, published timestamptz, caption text, place text, fans_then int);
"""
"""An application's tables."""


def company(services: Endpoints, home: Path) -> tuple[dict[str, str], dict[str, str]]:
    """A shop's servers: settings, with what other tools read, and what the pages have in their place."""
    application, runs = _database(services, "company"), _database(services, "company_dagster")
    with psycopg2.connect(application) as connection, connection.cursor() as cursor:
        cursor.execute(SHOP)
    ours = _settings(services, home, application, runs)
    settings = ours | {
        "DARKROOM_UPLOADS_URL": "s3://company-uploads",
        "DARKROOM_LAKE_URL": "s3://company-lake/darkroom",
        "DATABASE_URL": application,
        "AWS_ENDPOINT_URL": services.s3_endpoint,
        "AWS_ACCESS_KEY_ID": services.access_key,
        "AWS_SECRET_ACCESS_KEY": services.secret_key,
        "AWS_DEFAULT_REGION": services.region,
        **trust(services),
    }
    pages = {
        "postgresql://darkroom:...@db.example.com/app?": application + ("&" if urlsplit(application).query else "?"),
        "postgresql://darkroom:...@db.example.com/app": application,
        "postgresql://darkroom:...@db.example.com/dagster": runs,
        "https://s3.example.com": services.s3_endpoint,
        "/var/lib/darkroom": str(home),
    }
    return settings, pages | _filled_in(ours)


def trust(services: Endpoints) -> dict[str, str]:
    """Whom Darkroom and other tools trust: a server of yours has a certificate that the machine knows."""
    return dict.fromkeys(("DARKROOM_S3_CA_BUNDLE", "AWS_CA_BUNDLE", "SSL_CERT_FILE"), services.ca_bundle)


def moved(services: Endpoints, home: Path) -> dict[str, str]:
    """Empty servers: what the pages have in their place."""
    return _filled_in(_settings(services, home, _database(services, "moved"), _database(services, "moved_dagster")))


def _settings(services: Endpoints, home: Path, application: str, runs: str) -> dict[str, str]:
    return {
        "DARKROOM_HOME": str(home),
        "DARKROOM_DATABASE_URL": application,
        "DARKROOM_DAGSTER_POSTGRES_URL": runs,
        "DARKROOM_S3_ENDPOINT": services.s3_endpoint,
        "DARKROOM_S3_ACCESS_KEY": services.access_key,
        "DARKROOM_S3_SECRET_KEY": services.secret_key,
    }


def _filled_in(settings: Mapping[str, str]) -> dict[str, str]:
    """A value for each `NAME=...` of a page."""
    return {f"{name}=...": f"{name}={shlex.quote(value)}" for name, value in settings.items()}


def _database(services: Endpoints, name: str) -> str:
    """The address of a new, empty database."""
    with closing(psycopg2.connect(services.postgres_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(sql.SQL("create database {}").format(sql.Identifier(f"pages_{name}")))
    return urlunsplit(urlsplit(services.postgres_url)._replace(path=f"/pages_{name}"))
