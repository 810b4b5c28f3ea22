"""Reads what logobeam score writes as its readers do, and checks every value of every row.

    make interop                                  all of this, in an environment of its own
    python interop.py values --logobeam bin/logobeam --out DIR
    python interop.py features DIR [--update]     DIR holds week, as `go run ./testdata/interop week DIR/week` writes it
"""

import argparse
import csv
import glob
import hashlib
import json
import os
import struct
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

KEEP = ["author", "time", "a,b", 'quo"te', "dotted.name", "ünï"]


def listing(path):
    """A listing of the photographs of testdata and of those that cannot be read, with columns to keep; its post_ids."""
    rows = []
    for name in "posts.csv", "oddities.csv":
        with open(ROOT / "testdata" / name, newline="") as f:
            rows += [(r["post_id"], r["image"]) for r in csv.DictReader(f)]
    kept = {}
    with open(path, "w", newline="") as f:
        w = csv.writer(f)
        w.writerow(["post_id", "image"] + KEEP)
        for i, (post, image) in enumerate(rows):
            kept[post] = [f"author-{i % 23}" if i % 7 else "", f"2026-11-26T{i % 24:02}:00:00Z", "a,b\n", '"', "日本語" if i % 3 else "", "é" * (i % 200)]
            w.writerow([post, image] + kept[post])
    return kept


def pyarrow_rows(out, table):
    import pyarrow.dataset
    t = pyarrow.dataset.dataset(f"{out}/{table}").to_table()
    return t.column_names, [list(r.values()) for r in t.to_pylist()]


def pandas_rows(out, table):
    import pandas
    t = pandas.read_parquet(f"{out}/{table}")
    return list(t.columns), [[None if v is None or v != v else v for v in r] for r in t.itertuples(index=False, name=None)]


def duckdb_rows(out, table):
    import duckdb
    r = duckdb.sql(f"SELECT * FROM read_parquet('{out}/{table}/*.parquet')")
    return r.columns, [list(row) for row in r.fetchall()]


def spark_rows(out, table):
    from pyspark.sql import SparkSession
    spark = (SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config("spark.driver.bindAddress", "127.0.0.1")
             .config("spark.driver.host", "127.0.0.1").getOrCreate())
    spark.sparkContext.setLogLevel("ERROR")
    t = spark.read.parquet(f"{out}/{table}")
    return t.columns, [list(r) for r in t.collect()]


def beam_rows(out, table):
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    to = f"{out}-beam-{table}"
    with beam.Pipeline(runner=FnApiRunner()) as p:
        (p | beam.io.ReadFromParquet(f"{out}/{table}/*.parquet") | beam.Map(json.dumps)
         | beam.io.WriteToText(to, file_name_suffix=".jsonl"))
    rows = []
    for name in glob.glob(glob.escape(to) + "*.jsonl"):
        with open(name) as f:
            rows += [json.loads(line) for line in f]
        os.remove(name)
    return list(rows[0]), [list(r.values()) for r in rows]


READERS = [("pyarrow", "pyarrow", pyarrow_rows), ("pandas", "pandas", pandas_rows), ("DuckDB", "duckdb", duckdb_rows),
           ("Spark", "pyspark", spark_rows), ("Beam Python", "apache-beam", beam_rows)]


def same(want, got):
    """Whether a value is the same: a float to its last bit, and no number for a truth value."""
    if isinstance(want, float) or isinstance(got, float):
        return isinstance(got, float) and struct.pack("<f", want) == struct.pack("<f", got)
    return isinstance(want, bool) == isinstance(got, bool) and want == got


def plain(value):
    """A reader's value as Python has it: numpy's numbers are its own types."""
    return value.item() if hasattr(value, "item") else value


def footers(out, expected):
    """What the files say of themselves: pyarrow's and DuckDB's view."""
    import duckdb
    import pyarrow.parquet as pq
    files = sorted(glob.glob(f"{out}/*/*.parquet"))
    for name in files:
        f = pq.ParquetFile(name)
        posts = f.read(columns=["post_id"]).column(0).to_pylist()
        assert f.metadata.num_row_groups == min(1, len(posts)), name
        if posts:
            group = f.metadata.row_group(0)
            assert posts == sorted(posts) and [(s.column_index, s.descending) for s in group.sorting_columns] == [(0, False)], f"{name}: not sorted"
            s = group.column(0).statistics
            assert (s.min, s.max) == (posts[0], posts[-1]), f"{name}: its bounds are {s.min} and {s.max}"
        keys = {k.decode() for k in f.metadata.metadata} & {"logobeam.model_hash", "logobeam.options", "logobeam.part"}
        assert len(keys) == (3 if "/scores/" in name else 2), f"{name}: metadata {keys}"
        json.loads(f.metadata.metadata[b"logobeam.options"])
    table = [v[0] for c, v in expected["scores"][1]]
    for post in table[0], "nobody":
        found = duckdb.sql(f"SELECT bool_or(NOT bloom_filter_excludes) FROM parquet_bloom_probe('{out}/scores/*.parquet', 'post_id', '{post}')").fetchall()[0][0]
        assert found == (post in table), f"the filter has {post}: {found}"
    print(f"{len(files)} files: sorted by post_id, with bounds, Bloom filter and metadata", file=sys.stderr)


def values(args):
    out = Path(args.out) / "scored"
    kept = listing(Path(args.out) / "posts.csv")
    columns = ",".join('"' + name.replace('"', '""') + '"' for name in KEEP)
    subprocess.run([args.logobeam, "score", f"{args.out}/posts.csv", "--root", ROOT / "testdata", "--out", out, "--keep", columns,
                    "--chunk-rows", "100", "--max-rejects", "1"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([args.logobeam, "verify", out], check=True, stdout=subprocess.DEVNULL)
    expected = {"scores": (None, []), "rejects": (None, [])}
    dump = subprocess.run(["go", "run", "./testdata/interop", "dump", out], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for row in map(json.loads, dump.splitlines()):
        names, rows = row["columns"], expected[row["table"]][1]
        expected[row["table"]] = names, rows
        rows.append((names, row["values"]))
        assert row["values"][-len(KEEP):] == [v or None for v in kept.pop(row["values"][0])], row  # as in the listing
    assert not kept, f"posts of the listing are missing: {kept}"
    footers(out, expected)
    print("| reader | version | rows | values | equal |\n|---|---|---|---|---|")
    ok = True
    for name, package, read in READERS:
        rows = count = equal = 0
        for table, (names, want) in expected.items():
            columns, got = read(str(out), table)
            if list(columns) != names:
                print(f"{name}: {table} has the columns {columns}, not {names}", file=sys.stderr)
                ok = False
            want = sorted((v for _, v in want), key=lambda v: v[0])
            got = sorted(([plain(v) for v in row] for row in got), key=lambda v: v[0])
            rows, count = rows + len(got), count + sum(map(len, want))
            ok = ok and len(got) == len(want)
            for w, g in zip(want, got):
                for column, a, b in zip(names, w, g):
                    if same(a, b):
                        equal += 1
                    else:
                        print(f"{name}: {table}, post {w[0]}: {column} is {b!r}, not {a!r}", file=sys.stderr)
        ok = ok and equal == count
        print(f"| {name} | {version(package)} | {rows} | {count} | {'all' if equal == count else equal} |", flush=True)
    return ok


def tables(week):
    """The features of week by DuckDB, as features.json has them, and whether pandas finds the same."""
    import duckdb
    import pandas
    from features import features
    con = duckdb.connect()
    con.execute(f"SET file_search_path = '{week}'")
    con.execute((HERE / "features.sql").read_text())
    sql = {"authors": con.sql("SELECT * FROM author_features").df(), "brands": con.sql("SELECT * FROM author_brands").df()}
    for want, got in zip(sql.values(), features(Path(week) / "week")):
        pandas.testing.assert_frame_equal(want, got, check_dtype=False, check_exact=True)
    return {name: table.to_dict(orient="records") for name, table in sql.items()}


def made_by():
    return {name: hashlib.sha256((HERE / name).read_bytes()).hexdigest() for name in ("features.sql", "features.py")}


def feature_check(args):
    found = tables(args.dir)
    golden = HERE / "features.json"
    if args.update:
        golden.write_text(json.dumps({"made_by": made_by()} | found, indent=1) + "\n")
    if json.loads(golden.read_text()) != {"made_by": made_by()} | found:
        print("features.json is of other queries or another week: look at what differs, then make interop INTEROPFLAGS=--update", file=sys.stderr)
        return False
    print(f"{len(found['authors'])} authors and {len(found['brands'])} brands of theirs: DuckDB and pandas agree with features.json")
    return True


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = p.add_subparsers(required=True)
    v = commands.add_parser("values")
    v.add_argument("--logobeam", required=True)
    v.add_argument("--out", required=True)
    v.set_defaults(run=values)
    f = commands.add_parser("features")
    f.add_argument("dir")
    f.add_argument("--update", action="store_true")
    f.set_defaults(run=feature_check)
    args = p.parse_args()
    sys.exit(0 if args.run(args) else 1)


if __name__ == "__main__":
    main()
