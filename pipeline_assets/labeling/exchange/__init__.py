"""How questions leave and answers arrive: the database, files of services, and Label Studio."""
