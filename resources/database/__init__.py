"""PostgreSQL or SQLite: the connection, migrations, and the tables of the ledger."""
