"""How a dataset's files are found, fetched, unpacked and read: folders, zips, tables, media inside parquet files.

This room imports `avsink.sample` and `avsink.media`. It knows no dataset except by its name in `sources`.
"""
