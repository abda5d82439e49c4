"""Many rows in one statement: the CASE for every row and column that the ORM writes costs seconds on a large study."""

from collections.abc import Sequence
from typing import Any, LiteralString

from django.db import connection, models
from psycopg import sql

UPDATE: LiteralString = """
    UPDATE {table} AS kept SET {assignments} FROM unnest({arrays}) AS given ({names}) WHERE {match}
"""


def write_columns(rows: Sequence[models.Model], columns: Sequence[str]) -> None:
    """Writes these columns of all rows, which are of one model, as they stand in memory."""
    if not rows:
        return
    meta = type(rows[0])._meta
    pk = _concrete(meta, str(meta.pk.name))
    fields = [_concrete(meta, name) for name in columns]
    assignments = [sql.SQL("{0} = given.{0}").format(sql.Identifier(field.column)) for field in fields]
    statement = sql.SQL(UPDATE).format(
        table=sql.Identifier(meta.db_table),
        assignments=sql.SQL(", ").join(assignments),
        arrays=sql.SQL(", ").join(_array(field) for field in (pk, *fields)),
        names=sql.SQL(", ").join(sql.Identifier(field.column) for field in (pk, *fields)),
        match=sql.SQL("kept.{0} = given.{0}").format(sql.Identifier(pk.column)),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [_values(field, rows) for field in (pk, *fields)])


def _concrete(meta: Any, name: str) -> Any:
    """The field; its stubs lack what is asked of it here."""
    return meta.get_field(name)


def _array(field: Any) -> sql.Composed:
    kind: Any = field.cast_db_type(connection)  # a type's name, from the model
    return sql.SQL("%s::{}[]").format(sql.SQL(kind))


def _values(field: Any, rows: Sequence[models.Model]) -> list[Any]:
    return [field.get_db_prep_save(getattr(row, field.attname), connection) for row in rows]
