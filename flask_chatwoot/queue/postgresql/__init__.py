"""PostgreSQL as the database of the stores."""
