"""The click log of a search service: what it shows and what is clicked, as a data folder.

    DIR/data.yaml                         made by the first service that logs there
    DIR/events/<hour>-<process>.jsonl     open: lines that are appended before they are acknowledged
    DIR/log/span-<day>/clicks-*.parquet   closed: rows of the click-log contract

`vlsearch run --data DIR` trains on it.
"""
