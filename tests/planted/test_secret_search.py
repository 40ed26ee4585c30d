"""The search itself: it finds a key in each form, and nothing where there is none."""

import base64
import gzip
import json
import sqlite3
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from secret_search import files_of, search

KEY = "tR9/qLw2+Zk84=vXn5&Hd7"


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        quote(KEY, safe=""),
        quote(quote(KEY, safe=""), safe=""),
        "".join(f"%{byte:02X}" for byte in KEY.encode()),
        "".join(f"\\u{byte:04x}" for byte in KEY.encode()),
        "".join(f"&#{byte};" for byte in KEY.encode()),
        json.dumps(KEY).replace("/", "\\/"),
        *(base64.b64encode(f"{before}{KEY}, and more".encode()).decode() for before in ("", "a", "ab", "user:")),
        base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("="),
        f"{KEY[:9]}\n{KEY[9:]}",
        '", "'.join([KEY[:5], KEY[5:11], KEY[11:]]),
        f"its beginning: {KEY[:15]}...",
    ],
)
def test_a_key_is_found_in_every_form(text: str) -> None:
    assert search({"a.txt": f"{{'key': '{text}'}}".encode()}, {"mine": KEY})


def test_a_key_is_found_in_every_kind_of_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"rows": [["x" * 50, KEY] * 20]}), tmp_path / "a.parquet", compression="zstd")
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(json.dumps({"k": KEY}).encode()))
    with sqlite3.connect(tmp_path / "c.sqlite") as database:
        database.execute("CREATE TABLE t (k)")
        database.execute("INSERT INTO t VALUES (?)", [KEY])
    database.close()
    found = search(files_of(tmp_path), {"mine": KEY})
    assert {line.split()[0].rstrip(":") for line in found} == {"a.parquet", "b.json.gz", "c.sqlite"}
    assert "mine" in found[0] and KEY not in str(found)


def test_nothing_is_found_where_nothing_is() -> None:
    other = "".join(chr(33 + (7 * n) % 90) for n in range(5000)).encode()
    assert search({"a": other, "b": base64.b64encode(other * 3), "c": b"\0" * 999, "d": b""}, {"mine": KEY}) == []
