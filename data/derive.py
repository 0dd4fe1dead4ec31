#!/usr/bin/env python3
"""Derives cities.tsv from two JSON files of GeoNames data; README.md says which.

    python3 derive.py cities5000.json admin1.json > cities.tsv

Reads nothing else and uses no network. The same input gives the same bytes.
"""

import json
import sys
import unicodedata

MAX_KEY_BYTES = 999


def load(path, **options):
    with open(path, encoding="utf-8") as file:
        return json.load(file, **options)


def place(city):
    """The place that tells cities of one name apart: `US-IL`, or `SG` where no division is given."""
    return "-".join(filter(None, (city["countrycode"], city["admin1code"])))


def assign_keys(cities):
    """Maps each GeoNames id to its key.

    The most populous city of a name (the earlier one of equals) gets the bare name, then the most
    populous of each place gets `name, place`, and the rest get `name, place id`. Every bare name is
    given out first, so that a qualified key never takes the name of another city.
    """
    largest_first = sorted(cities, key=lambda city: -city["population"])
    forms = (
        lambda city: city["name"],
        lambda city: f"{city['name']}, {place(city)}",
        lambda city: f"{city['name']}, {place(city)} {city['geonameid']}",
    )
    keys, taken, rest = {}, set(), largest_first
    for form in forms:
        left = []
        for city in rest:
            key = form(city)
            if key in taken:
                left.append(city)
            else:
                taken.add(key)
                keys[city["geonameid"]] = key
        rest = left
    if rest:
        sys.exit(f"no unique key for {rest[0]}")
    return keys


def check(row):
    """Stops at anything that a reader of plain tab-separated UTF-8 would have to unescape."""
    key = row[0]
    if not 0 < len(key.encode()) <= MAX_KEY_BYTES:
        sys.exit(f"key of a wrong length: {key!r}")
    for field in row:
        if "\\" in field or any(unicodedata.category(c)[0] == "C" for c in field):
            sys.exit(f"field that needs escaping: {field!r}")
        if unicodedata.normalize("NFC", field) != field:
            sys.exit(f"field that is not in normalization form C: {field!r}")


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: derive.py cities5000.json admin1.json > cities.tsv")
    # Coordinates stay the text that the source has: no rounding, no new digits.
    cities = list(load(sys.argv[1], parse_float=str).values())
    regions = {division["code"]: division["name"] for division in load(sys.argv[2])}
    keys = assign_keys(cities)
    for city in cities:
        row = (
            keys[city["geonameid"]],
            city["countrycode"],
            regions.get(f"{city['countrycode']}.{city['admin1code']}", ""),
            str(city["latitude"]),
            str(city["longitude"]),
            str(city["population"]),
            city["timezone"],
        )
        check(row)
        sys.stdout.buffer.write("\t".join(row).encode() + b"\n")


if __name__ == "__main__":
    main()
