"""The catalog's tables, version by version. Packaged with the code, so that a wheel can bring a database up to date."""
