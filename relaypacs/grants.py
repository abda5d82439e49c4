"""What the application's database role may do: its everyday work, and never to rewrite what happened (decision 13)."""

from django.apps import apps
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

SCHEMA = sql.Identifier("public")
EVERYDAY = sql.SQL("SELECT, INSERT, UPDATE, DELETE")
REWRITING = sql.SQL("UPDATE, DELETE")
SEQUENCES = sql.SQL("USAGE, SELECT")


def grant_application_role(connection: BaseDatabaseWrapper, role: str) -> None:
    """Gives `role` its rights on everything the connected owner made and will make; nothing where both are one.

    The rights of a first run and of a hundredth are the same. It is one transaction: at no moment may the
    application rewrite a table of which rows are only ever added.
    """
    if not role or role == connection.settings_dict["USER"]:
        return
    to = sql.Identifier(role)
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        for statement in (*_everyday(to), *_append_only(to, set(connection.introspection.table_names(cursor)))):
            cursor.execute(statement)


def _everyday(to: sql.Identifier) -> list[sql.Composed]:
    ahead = sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA {} ").format(SCHEMA)
    return [
        # PostgreSQL before 15 lets everybody make tables in this schema
        sql.SQL("REVOKE CREATE ON SCHEMA {} FROM PUBLIC, {}").format(SCHEMA, to),
        sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(SCHEMA, to),
        # whatever else was given by hand (TRIGGER would do to rewrite a row) is taken back
        sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}").format(SCHEMA, to),
        sql.SQL("GRANT {} ON ALL TABLES IN SCHEMA {} TO {}").format(EVERYDAY, SCHEMA, to),
        sql.SQL("GRANT {} ON ALL SEQUENCES IN SCHEMA {} TO {}").format(SEQUENCES, SCHEMA, to),
        ahead + sql.SQL("GRANT {} ON TABLES TO {}").format(EVERYDAY, to),
        ahead + sql.SQL("GRANT {} ON SEQUENCES TO {}").format(SEQUENCES, to),
    ]


def _append_only(to: sql.Identifier, existing: set[str]) -> list[sql.Composed]:
    tables = append_only_tables() & existing
    return [
        sql.SQL("REVOKE {} ON {}.{} FROM {}").format(REWRITING, SCHEMA, sql.Identifier(table), to)
        for table in sorted(tables)
    ]


def append_only_tables() -> set[str]:
    """The tables of models that say `append_only = True`."""
    return {model._meta.db_table for model in apps.get_models() if getattr(model, "append_only", False)}
